#!/bin/sh
# A Slurm of two nodes on loopback, for tests: start.sh FOLDER. Called again it brings back what was killed; stop.sh ends it.
# Needs root, and Debian's slurm-wlm and munge. Prints the line that points Slurm's commands at it.
# PORT, NODES, and of each node CPUS and GPUS (pretended, of two shards each) may be set.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
state=${1:?usage: start.sh FOLDER}
# nproc answers OMP_NUM_THREADS where that is set.
port=${PORT:-16817} nodes=${NODES:-2} cpus=${CPUS:-$(env -u OMP_NUM_THREADS nproc)} gpus=${GPUS:-2}
mkdir -p "$state/ctld" "$state/log" "$state/munge"
state=$(cd "$state" && pwd)

alive() { [ -s "$1" ] && kill -0 "$(cat "$1")" 2>/dev/null && ! grep -q '^State:.Z' "/proc/$(cat "$1")/status"; }

# A munged of its own. --force: a folder above may be one that others can write, which it would refuse.
chmod 755 "$state" "$state/munge"
if ! alive "$state/munge/munged.pid"; then
    [ -f "$state/munge/key" ] || (umask 077 && head -c 128 /dev/urandom > "$state/munge/key")
    rm -f "$state/munge/socket"
    munged --force --key-file="$state/munge/key" --socket="$state/munge/socket" --pid-file="$state/munge/munged.pid" \
        --log-file="$state/log/munged.log" --seed-file="$state/munge/seed" --num-threads=2
fi

# Pretended GPUs are null devices: Slurm counts them and sets CUDA_VISIBLE_DEVICES, and nothing else.
for index in $(seq 0 $((gpus - 1))); do
    [ -e "$state/gpu$index" ] || mknod "$state/gpu$index" c 1 3
done
if [ "$gpus" -gt 0 ]; then
    printf 'Name=gpu File=%s/gpu[0-%s]\nName=shard Count=%s\n' "$state" "$((gpus - 1))" "$((2 * gpus))" > "$state/gres.conf"
fi

memory=$(($(awk '/MemTotal/ {print int($2 / 1024)}' /proc/meminfo) / nodes))
sed -e "s|@STATE@|$state|g" -e "s|@PORT@|$port|g" -e "s|@FIRST@|$((port + 1))|g" -e "s|@LAST@|$((port + nodes))|g" \
    -e "s|@NODES@|$nodes|g" -e "s|@CPUS@|$cpus|g" -e "s|@GPUS@|$gpus|g" -e "s|@SHARDS@|$((2 * gpus))|g" \
    -e "s|@MEMORY@|$memory|g" -e "s|@HOST@|$(hostname -s)|g" -e "s|@USER@|$(id -un)|g" \
    "$here/slurm.conf.in" > "$state/slurm.conf"
export SLURM_CONF="$state/slurm.conf"

alive "$state/slurmctld.pid" || slurmctld -f "$SLURM_CONF"
for index in $(seq 1 "$nodes"); do
    mkdir -p "$state/spool-n$index"
    alive "$state/slurmd-n$index.pid" || slurmd -f "$SLURM_CONF" -N "n$index"
done

# A node that was killed comes back DOWN ("Not responding") and has to be resumed by hand.
for _ in $(seq 60); do
    for index in $(seq 1 "$nodes"); do
        case $(sinfo -h -p main -n "n$index" -o %t 2>/dev/null) in
            down* | drain*) scontrol update "NodeName=n$index" State=RESUME 2>/dev/null || true ;;
        esac
    done
    ready=$(sinfo -h -N -p main -o %t 2>/dev/null | grep -cE '^(idle|mix|alloc)$' || true)
    [ "$ready" = "$nodes" ] && { echo "export SLURM_CONF=$SLURM_CONF"; exit 0; }
    sleep 0.5
done
echo "slurm: $ready of $nodes nodes are ready; see $state/log" >&2
exit 1
