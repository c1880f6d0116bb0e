# A build in small: tree.sh UNITS JOBS, in a folder with header.h and unit-1.c to unit-UNITS.c.
# Each unit is made by a driver, which starts three programs that read and write files.
units=$1 jobs=$2

compile() {
    unit=$1
    while [ "$unit" -le "$units" ]; do
        /bin/sh -c 'set -e
            cat header.h "unit-$1.c" >"unit-$1.i"
            sort "unit-$1.i" >"unit-$1.s"
            cksum "unit-$1.s" >"unit-$1.o"
            rm "unit-$1.i" "unit-$1.s"' driver "$unit" || exit 1
        unit=$((unit + jobs))
    done
}

job=1
while [ "$job" -le "$jobs" ]; do
    compile "$job" &
    job=$((job + 1))
done
wait
cat unit-*.o >program
