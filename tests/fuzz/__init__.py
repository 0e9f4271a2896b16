"""A fuzzer: it mutates images, model files, specs and HTTP requests, and checks the promises."""
