-- The grant refresh_token: the tokens of a file (BODIES) wait in a queue; one is shown, and what is answered joins the queue at its end.
local queue, first, last, headers = {}, 1, 0, {}

function init(_)
  headers = { ["Content-Type"] = "application/x-www-form-urlencoded", ["Authorization"] = os.getenv("AUTHORIZATION") }
  for line in io.lines(os.getenv("BODIES")) do
    last = last + 1
    queue[last] = line
  end
end

function request()
  local token = queue[first]
  queue[first] = nil
  first = first + 1
  return wrk.format("POST", nil, headers, "grant_type=refresh_token&refresh_token=" .. token)
end

function response(_, _, body)
  local token = string.match(body, '"refresh_token":"([^"]+)"')
  -- A refusal has none; wrk counts it.
  if token then
    last = last + 1
    queue[last] = token
  end
end

dofile(os.getenv("REPORT"))
