#!/bin/sh
# Keep the namespaces of one lab machine, and take the machine apart when the
# program that asked for it closes our standard input, by Close or by dying.
#
#   machine.sh DIR CGROUP
#
# Prints the process id of a process in the machine's mount and network
# namespaces, then "ready" once they are furnished. Where the program said "keep"
# before, the power is off and the folder stays.
set -eu
export DIR="$1" CGROUP="$2"
trap '' INT TERM HUP QUIT   # Ctrl-C is for the program; we follow when it is gone

# What runs as process 1 of the machine.
# shellcheck disable=SC2016 # expanded there, not here
inside='
	set -eu
	mount --make-rprivate /
	mount -t tmpfs -o mode=755 tmpfs /run
	mkdir -p /run/lab/fusectl
	mount -t fusectl fusectl /run/lab/fusectl
	ip link set lo up
	if ! grep -q " /sys/fs/cgroup" /proc/self/mountinfo; then
		mount -t tmpfs -o mode=755 tmpfs /sys/fs/cgroup
		for c in $(awk "!/^#/ && \$4 { print \$1 }" /proc/cgroups); do
			mkdir "/sys/fs/cgroup/$c"
			mount -t cgroup -o "$c" cgroup "/sys/fs/cgroup/$c" || rmdir "/sys/fs/cgroup/$c"
		done
	fi

	echo ready
	# Until the program is gone. Waiting for any child, as shells do, also buries
	# those that nobody else waits for: engines whose agent is gone. When all of the
	# machine is stopped, this process is not: see signalAll.
	exec 4<&0
	cat <&4 >/run/lab/last-word &
	echo $! >/run/lab/listener
	wait $!

	kill -s KILL -- -1 || true   # nobody left is fine
	# Asked first: once a file system is unmounted, its files have no paths.
	loops=$(losetup --noheadings --raw --output NAME,BACK-FILE |
		while read -r name file; do case "$file" in "$DIR"/*) echo "$name" ;; esac; done)
	# Newest first. Lazily, because nothing of a dead machine is worth waiting for.
	awk -v dir="$DIR/" "index(\$5, dir) == 1 { print \$5 }" /proc/self/mountinfo | tac |
		while read -r m; do umount -l "$m" || true; done
	for loop in $loops; do losetup -d "$loop" || true; done
	for root in /sys/fs/cgroup /sys/fs/cgroup/*; do
		[ ! -d "$root/$CGROUP" ] || find "$root/$CGROUP" -depth -type d -exec rmdir {} + || true
	done
	! grep -q keep /run/lab/last-word || exit 99
'

exec 3<&0
unshare --mount --net --pid --fork --kill-child=KILL --mount-proc sh -c "$inside" <&3 &
echo $!
status=0
wait $! || status=$?
[ "$status" != 99 ] || exit 0
rm -rf --one-file-system "$DIR"
exit "$status"
