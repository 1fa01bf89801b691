# What scripts/up and scripts/down know together of a state folder. Sourced after lib.sh.

if is_root; then
    state_default=/var/lib/sluice
    run_user=sluice
else
    state_default="$root_dir/var"
    run_user="$(id -un)"
fi
state="$(realpath -m -- "${SLUICE_STATE:-$state_default}")"
readonly state_default run_user state
readonly marker=.sluice-state
# In the order in which they are to stop.
readonly parts="nginx sluiced-serve sluiced-load postgres redis"

as_run_user() {
    if is_root; then
        setpriv --reuid "$run_user" --regid "$run_user" --init-groups -- "$@"
    else
        "$@"
    fi
}

# The newest Postgres server of Debian's packages.
find_postgres() {
    postgres_bin="$(find /usr/lib/postgresql -path '*/bin/initdb' 2>/dev/null | sort -V | tail -n 1)"
    [ -n "$postgres_bin" ] || die "there is no Postgres server in /usr/lib/postgresql" \
        "apt-get install postgresql"
    postgres_bin="${postgres_bin%/initdb}"
    postgres_version="$(basename "${postgres_bin%/bin}")"
}

# Prints the pid of this state folder's supervisor, if it lives.
supervisor_pid() {
    local pid
    pid="$(cat "$state/supervisord.pid" 2>/dev/null)" || return 1
    [[ "$pid" =~ ^[0-9]+$ ]] &&
        tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline" | grep -qF "$state/app/conf/supervisord.conf" &&
        printf '%s\n' "$pid"
}

ctl() { /usr/bin/supervisorctl -c "$state/app/conf/supervisord.conf" "$@"; }

part_runs() {
    supervisor_pid >/dev/null && [[ "$(ctl status "$1" 2>/dev/null)" =~ (RUNNING|STARTING) ]]
}

# wait_for SECONDS WHAT LOG COMMAND...
wait_for() {
    local deadline=$((SECONDS + $1)) what="$2" log="$3"
    until "${@:4}" >/dev/null 2>&1; do
        if [ $SECONDS -ge $deadline ]; then
            tail -n 20 "$log" >&2 || true
            die "$what does not answer" "see the end of $log above"
        fi
        sleep 0.1
    done
}

# Where supervisor was killed, its parts live on.
end_orphans() {
    local part
    [ -x "$state/app/bin/run-part" ] || return 0
    for part in $parts; do
        if [ "$part" = nginx ]; then
            "$state/app/bin/run-part" "$state" "$part" end
        else
            (cd / && as_run_user "$state/app/bin/run-part" "$state" "$part" end)
        fi
    done
}
