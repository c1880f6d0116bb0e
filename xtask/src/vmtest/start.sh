#!/bin/sh
# The first program of the machine. It puts everything onto a disk and goes on there: the file system
# that the kernel unpacked is in memory, has no parent and cannot be left. The disk is a file in it.
export PATH=/usr/bin:/usr/sbin
mount -t devtmpfs dev /dev
insmod /vmtest/modules/loop.ko* || exit
truncate -s 4G /disk
mke2fs -q -F -t ext4 -O ^has_journal -E nodiscard /disk || exit
mount -t ext4 -o loop /disk /new || exit
for entry in /*; do
    case $entry in
    /dev | /disk | /new) ;;
    *) cp -a "$entry" /new/ || exit ;;
    esac
done
mkdir -p /new/proc /new/sys /new/dev /new/run /new/var/lib /new/var/tmp /new/tmp
chmod 1777 /new/tmp /new/var/tmp
umount /dev
exec switch_root /new /vmtest/work.sh
