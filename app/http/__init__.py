"""The shell around the products: it knows HTTP, its servers and Prometheus, and no list.

factory        puts the parts together
serve          starts the server that LARDER_SERVER names; address: where it can listen
wsgi           what gunicorn loads; gunicorn_conf: how it runs
connections    how requests come in and answers go out under gunicorn
granian_server how granian runs; granian_worker: what it calls; sockets: connections that dawdle
workers        the processes of one server, and what they tell each other
cross_origin   whose web pages may call
metrics        what is counted; metrics_files: where the workers keep it
problems       every error as problem+json
probe          the image's health check
"""
