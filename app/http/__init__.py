"""The shell around the products: it knows HTTP, gunicorn and Prometheus, and no list.

factory        puts the parts together
wsgi           what gunicorn loads; gunicorn_conf: how it runs
connections    how requests come in and answers go out under gunicorn
workers        the processes of one server, and what they tell each other
metrics        what is counted; metrics_files: where the workers keep it
problems       every error as problem+json
probe          the image's health check
"""
