#!/bin/sh
# What the machine does, after start.sh. Every part stands between two lines that begin with @@;
# the machine then goes off.
export PATH=/usr/bin:/usr/sbin HOME=/root
mount -t devtmpfs dev /dev
mkdir -p /dev/pts
mount -t devpts pts /dev/pts
exec </dev/null >/dev/console 2>&1
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t securityfs security /sys/kernel/security
mount -t debugfs debug /sys/kernel/debug
mount -t tracefs trace /sys/kernel/tracing
mount -t cgroup2 cgroup /sys/fs/cgroup
for module in /vmtest/modules/*; do
    insmod "$module"
done

# Runs a part: its name, then a command.
part() {
    name=$1
    shift
    echo "@@ begin $name"
    "$@"
    status=$?
    echo
    echo "@@ end $name $status"
}

# How far preemption goes; kernels that cannot choose have no such file.
preemption() {
    if [ -e /sys/kernel/debug/sched/preempt ]; then
        cat /sys/kernel/debug/sched/preempt
    fi
}

cd /tmp
part kernel uname -r
part preemption preemption
. /vmtest/parts.sh
echo "@@ done"
sleep 1
echo b >/proc/sysrq-trigger
