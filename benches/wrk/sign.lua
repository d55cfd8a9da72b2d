-- POST /sign with HTTP Basic (AUTHORIZATION) and the body (BODY) of the environment. Set once: wrk formats the request
-- a single time and repeats its bytes.
wrk.method = "POST"
wrk.body = os.getenv("BODY")
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Authorization"] = os.getenv("AUTHORIZATION")
dofile(os.getenv("REPORT"))
