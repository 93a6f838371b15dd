"""HTTP: from a row of ENDPOINTS to a Starlette route, and from an error to a problem."""
