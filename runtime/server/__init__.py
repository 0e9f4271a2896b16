"""The page to draw on and the HTTP API behind `python -m runtime.serve`.

app.py assembles it; guard.py decides who may ask; uploads.py takes what is sent, within limits.py;
answers.py says what the classifier saw; openapi.py describes it all; connection.py and service.py
run it.
"""
