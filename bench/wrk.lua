-- What wrk says when it is over, in one line of JSON; a script of its own or the end of another one.

function done(summary, latency, requests)
  local errors = summary.errors
  local lost = errors.connect + errors.read + errors.write + errors.timeout
  io.write(string.format(
    '\n{"requests": %d, "microseconds": %d, "p50": %d, "p99": %d, "refused": %d, "lost": %d}\n', summary.requests,
    summary.duration, latency:percentile(50), latency:percentile(99), errors.status, lost))
end
