#!/bin/sh
# Runs a command in namespaces of its own: network, mounts, processes and cgroups, with empty
# /run, /var/lib and /var/log. A node started there is apart from one that runs on the machine.
set -eu
name="igw-isolated-$$"
for root in /sys/fs/cgroup/*/ /sys/fs/cgroup/; do
    [ -e "$root/cgroup.procs" ] || continue
    mkdir -p "$root/$name"
    for file in cpuset.cpus cpuset.mems; do
        [ ! -e "$root/$file" ] || cat "$root/$file" > "$root/$name/$file"
    done
    echo $$ > "$root/$name/cgroup.procs"
done
status=0
unshare --net --mount --pid --cgroup --ipc --fork --kill-child sh -euc '
    mount -t proc proc /proc
    for root in /sys/fs/cgroup/*/; do
        [ -e "$root/cgroup.procs" ] || continue
        line=$(awk -v at="${root%/}" "\$2 == at { print \$3, \$4 }" /proc/mounts)
        type=${line%% *}
        controller=$(echo "${line##* }" | tr , "\n" | grep -vE "^(rw|ro|relatime|nosuid|nodev|noexec)$" | paste -sd,)
        umount "$root"
        if [ "$type" = cgroup2 ]; then mount -t cgroup2 cgroup2 "$root"
        else mount -t cgroup -o "$controller" cgroup "$root"; fi
    done
    [ ! -e /sys/fs/cgroup/cgroup.controllers ] || mount -t cgroup2 cgroup2 /sys/fs/cgroup
    # Those of a node that runs on the machine, here only: this is a copy of its mounts.
    for point in $(awk "\$2 ~ \"/igw-node/\" { print \$2 }" /proc/mounts | sort -r); do
        umount -l "$point"
    done
    for folder in /run /var/lib /var/log; do mount -t tmpfs tmpfs "$folder"; done
    ip link set lo up
    exec "$@"
' sh "$@" || status=$?
for root in /sys/fs/cgroup/*/ /sys/fs/cgroup/; do
    [ -d "$root/$name" ] || continue
    echo $$ > "$root/cgroup.procs"
    find "$root/$name" -depth -type d -exec rmdir {} \; || true
done
exit "$status"
