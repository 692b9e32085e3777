#!/usr/bin/env bash
# The REST API with curl alone: bash rest-server-test.sh [URL]
# Each call prints what it expects; the first answer without it ends the script with status 1.
set -euo pipefail
URL=${1:-http://localhost:8080}
API=$URL/api/v1
APP="curl test"
JSON="Content-Type: application/json"

# expect TEXT COMMAND...: run the command, show its answer, and exit if TEXT is not in it.
expect() {
  local text=$1; shift
  local answer; answer=$("$@")
  echo "$answer" | cut -c1-300
  case $answer in *"$text"*) ;; *) echo "FAILED: the answer has no $text" >&2; exit 1 ;; esac
}
# ask METHOD PATH [CURL OPTIONS]
ask() { local method=$1 path=$2; shift 2; curl -sS -X "$method" "$API$path" "$@"; }
# read_ PATH [CURL OPTIONS]: names of apps and keys may be any text, so they are URL-encoded in the query
read_() { local path=$1; shift; curl -sS -G "$API$path" "$@"; }

echo "1. The endpoint runs: status ok"
expect '"status":"ok"' curl -sS "$URL/healthz"

echo "2. Start a run of the app, with a config: the answer has its id"
STARTED=$(ask POST /runs -H "$JSON" -d "{\"app\": \"$APP\", \"config\": {\"ycolumns\": [\"y\"]}}")
expect '"state":"running"' echo "$STARTED"
RUN=$(echo "$STARTED" | sed -E 's/.*"run":"([^"]+)".*/\1/')

echo "3. Send rows and a value in one batch: stored at position 2 of the run's log"
expect '"seq":2' ask POST "/runs/$RUN/batches" -H "$JSON" -d '{"producer": "curl", "number": 1, "records": [
  {"kind": "rows", "step": 0, "key": "main plot", "data": {"x": [0, 1], "y": {"dtype": "float64", "data": [0.5, "NaN"]}}},
  {"kind": "rows", "step": 1, "key": "main plot", "data": {"x": 2, "y": 1.5}},
  {"kind": "value", "step": 1, "key": "weights", "data": {"image": [[1, 2], [3, 4]]}}]}'

echo "4. The same batch again is not stored again: duplicate true"
expect '"duplicate":true' ask POST "/runs/$RUN/batches" -H "$JSON" -d '{"producer": "curl", "number": 1, "records": []}'

echo "5. Read the rows back: x is 0, 1, 2"
expect '"data":[0,1,2]' read_ "/runs/$RUN/rows" --data-urlencode "key=main plot"

echo "6. Read only step 1, and only x: 2"
expect '"x":{"dtype":"int64","data":[2]}' read_ "/runs/$RUN/rows" --data-urlencode "key=main plot" -d from_step=1 -d to_step=1 -d columns=x

echo "7. Read the newest value: a 2 x 2 image"
expect '"image":[[1,2],[3,4]]' read_ "/runs/$RUN/value" -d key=weights

echo "8. Read the log from its start: rows and value, and a cursor to continue from"
TAIL=$(read_ "/runs/$RUN/tail")
expect '"records":[{"kind":"rows"' echo "$TAIL"
CURSOR=$(echo "$TAIL" | sed -E 's/.*"cursor":"([^"]+)".*/\1/')

echo "9. Wait for records after the cursor, while another call sends them: x is 3"
ask POST "/runs/$RUN/batches" -H "$JSON" -d '{"records": [{"kind": "rows", "step": 2, "key": "main plot", "data": {"x": 3, "y": 2.5}}]}' >/dev/null &
expect '"data":[3]' read_ "/runs/$RUN/tail" -d "after=$CURSOR" -d wait=10
wait

echo "10. The error for invalid input says where it is, and what is allowed: records[0].step"
expect 'records[0].step' ask POST "/runs/$RUN/batches" -H "$JSON" -d '{"records": [{"kind": "rows", "step": -1, "key": "k", "data": {"x": 1}}]}'

echo "11. The run, with its config, keys and columns: last step 2"
expect '"last_step":2' ask GET "/runs/$RUN"

echo "12. The newest run of the app is this one"
expect "\"run\":\"$RUN\"" read_ /runs/newest --data-urlencode "app=$APP"

echo "13. The runs of the app, and all apps"
expect "\"run\":\"$RUN\"" read_ /runs --data-urlencode "app=$APP"
expect "\"name\":\"$APP\"" ask GET /apps

echo "14. The tail of the app's runs: the newest run"
expect "\"newest\":\"$RUN\"" read_ /apps/tail --data-urlencode "app=$APP"

echo "15. Rename the run"
expect '"name":"sines"' ask PATCH "/runs/$RUN" -H "$JSON" -d '{"name": "sines"}'

echo "16. Clear it: rows and values are gone, and the old cursor starts over"
expect '"first_step":null' ask POST "/runs/$RUN/clear"
expect '"restart":true' read_ "/runs/$RUN/tail" -d "after=$CURSOR"

echo "17. Finish it"
expect '"state":"finished"' ask POST "/runs/$RUN/finish" -H "$JSON" -d '{"state": "finished"}'

echo "18. Delete it: later requests are answered with 410"
expect 200 ask DELETE "/runs/$RUN" -o /dev/null -w '%{http_code}'
expect 410 ask GET "/runs/$RUN" -o /dev/null -w '%{http_code}'

echo "All answers are as expected."
