"""The street: load that sees only HTTP, and a verdict on whether the promise holds.

    python -m loadtest slo                      # a local stack, the objective's load, the verdict
    python -m loadtest slo --url https://...    # a deployment that runs elsewhere

    __main__: arguments, exit code       locustfile: callers, as Locust's own process runs them
         |                                    |
    stack, generator, dawdlers: started  runs: the steps of one run
    graphs, report: what is told              |
         |____________________________________|
                          |
    inside, measured, verdict, recording, checks, doings: what came back, and whether it is right
    scenarios, arrivals, slo, population: who asks, when, and what was promised

Nothing here imports ``app`` or ``batch``; only ``stack`` knows how to start them, as commands.
"""
