# Runs one Postgres server for tests: what to do comes in as lines, each is answered with `done`. At the end of its
# input, however that comes about, the server and its folder go away, so a test that is killed leaves nothing behind.
# $1: the server's programs, $2: the folder, with `data` in it.
pid=
trap '' HUP INT TERM # a Ctrl-C is for whoever writes the lines; their end is then the end here

start() {
  "$1/postgres" -D "$2/data" >>"$2/log" 2>&1 </dev/null &
  pid=$!
}

backends() { cat "/proc/$pid/task/$pid/children"; }

# Dead processes may wait for whoever collects them.
is_running() {
  case $(cut -d ' ' -f 3 "/proc/$1/stat" 2>/dev/null) in '' | Z) return 1 ;; esac
}

end() {
  [ -n "$pid" ] || return
  children=$(backends)
  kill -CONT $pid $children 2>/dev/null
  kill "-$1" $pid 2>/dev/null
  [ "$1" != KILL ] || kill -KILL $children 2>/dev/null
  wait $pid 2>/dev/null
  for child in $children; do
    while is_running "$child"; do sleep 0.02; done
  done
  pid=
}

while read -r word; do
  case $word in
    start) start "$1" "$2" ;;
    stop) end INT ;;
    crash) end KILL ;;
    freeze) kill -STOP $pid $(backends) ;;
    thaw) kill -CONT $pid $(backends) ;;
  esac
  echo done
done
end QUIT
rm -rf "$2"
