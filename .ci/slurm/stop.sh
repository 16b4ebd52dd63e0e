#!/bin/sh
# End the Slurm that start.sh FOLDER started, with its jobs, by its pid files; the folder stays.
set -eu
state=${1:?usage: stop.sh FOLDER}
export SLURM_CONF="$state/slurm.conf"
[ -f "$SLURM_CONF" ] && [ -s "$state/slurmctld.pid" ] && timeout 5 scancel --user="$(id -un)" 2>/dev/null || true
sleep 1
for file in "$state"/slurmd-n*.pid "$state/slurmctld.pid" "$state/munge/munged.pid"; do
    [ -s "$file" ] || continue
    pid=$(cat "$file")
    case $(cat "/proc/$pid/comm" 2>/dev/null) in slurmd | slurmctld | munged) kill "$pid" 2>/dev/null || true ;; esac
    for _ in $(seq 50); do kill -0 "$pid" 2>/dev/null && sleep 0.1 || break; done
    kill -9 "$pid" 2>/dev/null || true
    rm -f "$file"
done
