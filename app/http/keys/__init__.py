"""Who may ask for what, and how often: WSGI around all that answers, where LARDER_AUTH is on."""
