"""The drawing page and the HTTP API behind `digit-edge serve`.

The path of a request through the modules:

1. `service` runs uvicorn; `connection` closes connections that never complete a request.
2. `access` checks the Host header, the origin and the token (`access_options`).
3. `app` routes the request; `uploads` reads the image of the request within `limits`.
4. `supervisor` sends the image to a second process, the `worker`, over the protocol of `wire`.
5. `responses` calls the classifier in the worker and builds the dataclasses of `bodies`;
   `open_inference` does the same for the paths below /v2.

`openapi` describes the API, and `metrics` counts requests for Prometheus. `static` serves the files
of the folder page. The camera preview (`runtime.camera.preview_server`) also uses `access`, `app`,
`service` and `static`.
"""
