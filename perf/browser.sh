#!/usr/bin/env bash
# A browser, unchanged, at a web server behind another node: headless Chromium beside a node behind
# one NAT, a web server behind a node behind another, and a public node that introduces the two.
# The page has styles, modules, pictures, forms, streams, events, a WebSocket and 8 MiB each way; it
# says what came of each, and this script whether that is as it should be. Then a page of another
# origin, on the browser's machine, tries to get at the same and must not.
# For NATs that let packets of known senders in (the line ends direct), and for symmetric ones (it
# stays on the relay). Needs root, ip, nft, python3 and Chromium, and says so.
#   perf/browser.sh
set -euo pipefail
cd "$(dirname "$0")/.."

chromium=
for name in chromium chromium-browser google-chrome chromium-headless-shell chrome-headless-shell; do
  chromium=${chromium:-$(command -v "$name" || true)}
done
[ -n "$chromium" ] || { echo "BROWSER SKIPPED: no Chromium here; apt-get install -y chromium" >&2; exit 2; }
. perf/pair.sh

browse() { # address: the document as it is in the end
  HOME=$dir PATIENCE=120 inside a "$chromium" --headless --no-sandbox --disable-gpu --disable-dev-shm-usage \
    --disable-background-networking --no-first-run --user-data-dir="$dir/profile-$first-$page" \
    --virtual-time-budget=1000000 --dump-dom "$1" 2>"$dir/browser.log"
}
judge() { # report, expected
  python3 - "$1" "$2" <<'PY'
import json, sys
seen, expected = json.load(open(sys.argv[1])), json.loads(sys.argv[2])
for what in expected | seen:
    right = what in expected and seen.get(what) == expected[what]
    print(f"  {'ok   ' if right else 'WRONG'} {what}: {seen.get(what)}")
sys.exit(seen != expected)
PY
}

"$chromium" --version 2>/dev/null
for kinds in "port port" "symmetric symmetric"; do
  read -r first second <<<"$kinds"
  set_up "$first" "$second"
  echo "NATs: $kinds; a to b: $(way a); b to a: $(way b)"
  for page in index foreign; do
    echo " $page"
    report=$dir/report
    if [ $page = index ]; then
      browse "http://wiki.localhost:8480/" >"$dir/dom"
      title='<title>all has run</title>'
      expected='{"module": "imported", "style": "rgb(1, 2, 3)", "imported style": "42px", "picture": "120 by 80",
        "json": "good day", "who asks": "'${hashname[a]}'", "cookie": "crumb=dry", "form": "word=bl%C3%A5b%C3%A6r+%26+more",
        "8 MiB there and back": "the same", "24 at once": "all", "stream": "piece0 piece1 piece2",
        "events": "event0 event1 event2", "cancelled": "the server noticed",
        "websocket": "blåbær, 100000 of 7, closed 1000 enough", "parts that failed": "none"}'
    else
      report=$dir/foreign
      in_background a python3 "$HERE/web.py" 9000 "$HERE/page" "$report" 2>"$dir/foreign.log" &
      until_so inside a python3 -c 'import socket; socket.create_connection(("127.0.0.1", 9000))'
      browse "http://127.0.0.1:9000/foreign.html" >"$dir/dom"
      title='<title>foreign</title>'
      expected='{"read": "refused", "write": "nothing readable", "image": "refused", "script": "refused", "websocket": "refused"}'
    fi
    grep -q "$title" "$dir/dom" || { echo "not in the document: $title" >&2; cat "$dir/dom" "$dir/browser.log" >&2; exit 1; }
    judge "$report" "$expected"
  done
  # An answer that nobody can read would still have been asked for.
  forged=$(inside a python3 -c 'import urllib.request as u
print(u.urlopen(u.Request("http://127.0.0.1:8480/forged", headers={"Host": "wiki.localhost"})).read().decode())')
  [ "$forged" = no ] || { echo "the forged request arrived: $forged" >&2; exit 1; }
  echo "  ok    the forged request did not arrive"
  echo " a to b: $(way a); b to a: $(way b)"
  finish
  rm -f "$dir/report" "$dir/foreign"
done
