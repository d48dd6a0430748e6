"""The street: load that sees only HTTP, and a verdict on whether the promise holds.

    python -m loadtest slo                      # a local stack, the objective's load, the verdict
    python -m loadtest slo --url https://...    # a deployment that runs elsewhere

            __main__   arguments, processes, exit code
       _________|___________________________________
      |         |            |          |           |
    stack     locust       report     graphs       api
   (local   (subprocess)  (table,    (PNG)    (is Larder there?)
   servers)     |          figures)
            locustfile -> scenarios, arrivals, population, checks, recording
                |
             verdict -> slo          pure: what was promised, what was measured

Nothing here imports ``app`` or ``batch``; only ``stack`` knows how to start them, as commands.
"""
