"""The page to draw on and the HTTP API behind `python -m runtime.serve`.

app.py assembles it; guard.py decides who may ask, by the options of access_options.py; uploads.py
takes what is sent, within limits.py; answers.py calls the classifier and returns the dataclasses of
bodies.py; openapi.py describes the API from them; connection.py and service.py run it. The camera's
preview (runtime/camera/preview_server.py) uses guard.py, connection.py and service.py too.
"""
