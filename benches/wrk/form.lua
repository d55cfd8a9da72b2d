-- POST of a form (BODY) with HTTP Basic (AUTHORIZATION), both of the environment. Set once: wrk formats the request a single time
-- and repeats its bytes.
wrk.method = "POST"
wrk.body = os.getenv("BODY")
wrk.headers["Content-Type"] = "application/x-www-form-urlencoded"
wrk.headers["Authorization"] = os.getenv("AUTHORIZATION")
dofile(os.getenv("REPORT"))
