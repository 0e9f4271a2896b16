"""The page to draw on and the HTTP API behind `python -m runtime.serve`.

`app` assembles it; `access` decides who may use it, by the options of `access_options`; `uploads`
takes a request's image, within `limits`; `supervisor` passes it to the `worker` process, whose
`responses` calls the classifier and returns the dataclasses of `bodies`; `openapi` describes the
API from them; `connection` and `service` run the server. The camera's preview
(`runtime.camera.preview_server`) uses `access`, `connection` and `service` too.
"""
