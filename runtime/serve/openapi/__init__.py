"""The OpenAPI document of `digit-edge serve`.

`document` describes the operations; `json_schema` describes the bodies of their responses.
"""
