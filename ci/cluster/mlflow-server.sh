#!/usr/bin/env bash
# MLflow's server on PostgreSQL, with artifacts: for several drivers at once, and several readers.
#
#   ci/cluster/mlflow-server.sh FOLDER
#
# FOLDER keeps what lasts: artifacts and, unless MLFLOW_BACKEND_STORE_URI names a database that is
# there (as postgresql+psycopg://mlflow@db.example/mlflow, with its password in PGPASSFILE), a
# PostgreSQL of its own, which lives as long as the server. Everything listens on this machine alone
# unless told otherwise:
#
#   MLFLOW_HOST (127.0.0.1)       where to listen; anyone who reaches it may read and write
#   MLFLOW_PORT (5000)
#   MLFLOW_WORKERS (2)
#   MLFLOW_SERVER_ALLOWED_HOSTS   names by which others may call it, such as a bare cluster host name
#   PGPORT (a free one)           of the database of its own, on 127.0.0.1
#
# Where the harness is installed, its pages are served too: MLflow opens our experiments on their
# curves, and /harness lists the verdicts.
#
# Ends in order on SIGTERM or Ctrl-C.
set -euo pipefail
umask 077

if (($# != 1)); then
  echo "usage: $0 FOLDER" >&2
  exit 2
fi
mkdir -p "$1"
folder=$(cd "$1" && pwd)

# PostgreSQL refuses to run as root; Debian's package makes a user for it.
as_postgres() {
  if ((EUID == 0)); then
    (cd / && exec setpriv --reuid=postgres --regid=postgres --init-groups "$@")
  else
    "$@"
  fi
}

# Debian keeps its programs out of the PATH, a folder for each version.
find_postgres() {
  local programs
  programs=$(compgen -G '/usr/lib/postgresql/*/bin' | sort --version-sort | tail -n 1) || true
  [[ -z $programs ]] || PATH=$PATH:$programs
  command -v initdb >/dev/null || {
    echo "no PostgreSQL; on Debian: apt-get install postgresql" >&2
    exit 4
  }
}

make_database() {
  local password
  password=$(head --bytes 24 /dev/urandom | base64)
  printf '%s' "$password" >"$folder/password"
  printf '127.0.0.1:*:*:mlflow:%s\n' "$password" >"$folder/pgpass"
  mkdir -p "$folder/database"
  if ((EUID == 0)); then
    chmod o+x "$folder"
    chown -R postgres: "$folder/database" "$folder/password"
  fi
  as_postgres initdb --pgdata="$folder/database/new" --username=mlflow --pwfile="$folder/password" \
    --auth=scram-sha-256 --encoding=UTF8 --locale=C.UTF-8 >/dev/null
  rm "$folder/password"
  # Under its own name it is whole: what was cut off before is made anew.
  mv "$folder/database/new" "$folder/database/data"
}

start_database() {
  find_postgres
  if [[ ! -d $folder/database/data ]]; then
    rm -rf "$folder/database/new"
    make_database
  fi
  PGPORT=${PGPORT:-$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')}
  export PGPASSFILE=$folder/pgpass
  local settings="-p $PGPORT -c listen_addresses=127.0.0.1 -c unix_socket_directories="
  as_postgres pg_ctl start --wait --silent --pgdata="$folder/database/data" \
    --log="$folder/database/log" --options="$settings"
  local call=(psql --host=127.0.0.1 --port="$PGPORT" --username=mlflow --dbname=postgres
    --no-psqlrc --tuples-only --command)
  if [[ -z $("${call[@]}" "SELECT 1 FROM pg_database WHERE datname = 'mlflow'") ]]; then
    "${call[@]}" 'CREATE DATABASE mlflow' >/dev/null
  fi
  export MLFLOW_BACKEND_STORE_URI=postgresql+psycopg://mlflow@127.0.0.1:$PGPORT/mlflow
}

server=
own_database=
finish() {
  trap '' TERM INT
  if [[ -n $server ]]; then
    kill -TERM -- "-$server" 2>/dev/null || true
    wait "$server" || true
  fi
  if [[ -n $own_database ]]; then
    as_postgres pg_ctl stop --wait --silent --mode=fast --pgdata="$folder/database/data"
  fi
}
trap finish EXIT
trap 'exit 0' TERM INT

if [[ -z ${MLFLOW_BACKEND_STORE_URI:-} ]]; then
  start_database
  own_database=yes
fi
export MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false # else eight more processes
export MLFLOW_DISABLE_TELEMETRY=true
app=()
if python3 -c 'import importlib.metadata as m, sys; sys.exit(not m.entry_points(group="mlflow.app", name="harness"))'; then
  app=(--app-name harness)
fi
# The database's address goes by the environment: others may read a command line.
set -m # a group of its own, all of which we end
python3 -m mlflow server --host "${MLFLOW_HOST:-127.0.0.1}" --port "${MLFLOW_PORT:-5000}" \
  --workers "${MLFLOW_WORKERS:-2}" --artifacts-destination "file://$folder/artifacts" \
  --uvicorn-opts '--log-level warning' "${app[@]}" &
server=$!
set +m
wait "$server"
