#!/bin/sh
# The first program of the machine. It puts everything into a file system of the usual kind: the one
# that the kernel unpacked has no parent and cannot be left.
export PATH=/usr/bin:/usr/sbin
mount -t tmpfs -o mode=755 root /new
for entry in /*; do
    case $entry in
    /dev | /new) ;;
    *) cp -a "$entry" /new/ || exit ;;
    esac
done
mkdir -p /new/proc /new/sys /new/dev /new/run /new/var/lib /new/tmp
chmod 1777 /new/tmp
exec switch_root /new /vmtest/work.sh
