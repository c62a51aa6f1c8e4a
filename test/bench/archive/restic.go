package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path"
	"time"

	"github.com/ballast-io/ballast/test/postgres"
)

// restic runs restic on the machine, against the same server as Ballast.
func (b *bench) restic(ctx context.Context, args ...string) error {
	cmd := b.m.Command(ctx, "restic", append([]string{"-q", "-r", "s3:" + b.store.Endpoint() + "/restic"}, args...)...)
	cmd.Env = append(cmd.Env, b.store.Environment()...)
	cmd.Env = append(cmd.Env, "RESTIC_PASSWORD="+password, "RESTIC_CACHE_DIR="+b.m.Path("restic-cache"))
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := b.m.Run(cmd); err != nil {
		return fmt.Errorf("restic %s: %w: %s", args[0], err, said.Bytes())
	}
	return nil
}

// timed says how long f took.
func timed(f func() error) (time.Duration, error) {
	began := time.Now()
	err := f()
	return time.Since(began), err
}

// fill makes a volume with a file of that many MiB, half of which compresses, and
// returns where it is mounted.
func (b *bench) fill(ctx context.Context, volume, size string, mib int) (string, error) {
	if _, err := b.m.Ballast(ctx, "volume", "create", volume, "--size", size); err != nil {
		return "", err
	}
	mountpoint, err := b.m.Ballast(ctx, "volume", "attach", volume)
	if err != nil {
		return "", err
	}
	return mountpoint, b.write(ctx, path.Join(mountpoint, "file"), 0, mib)
}

// write writes MiBs into a file: of each, half is random and half is text.
func (b *bench) write(ctx context.Context, file string, at, mib int) error {
	_, err := b.m.Output(ctx, "sh", "-ec", `
		f=$1; at=$2; n=$3
		dd if=/dev/urandom of=/run/half bs=512K count=64 status=none
		yes "a line of a log that looks like many others, and then like none $at" | head -c 512K >/run/text
		i=0; while [ $i -lt $n ]; do
			dd if=/run/half bs=512K skip=$((i % 64)) count=1 status=none; printf %09d $((at + i)) | cat - /run/text | head -c 512K
			i=$((i + 1))
		done | dd of="$f" bs=1M seek=$at conv=notrunc iflag=fullblock status=none
		sync -f "$f"`, "sh", file, fmt.Sprint(at), fmt.Sprint(mib))
	return err
}

// drop makes the machine forget what it has read.
func (b *bench) drop(ctx context.Context) error {
	if _, err := b.m.Output(ctx, "sync"); err != nil {
		return err
	}
	return os.WriteFile("/proc/sys/vm/drop_caches", []byte("3"), 0o200)
}

// firstTime archives 4 GiB for the first time, by a base snapshot and by restic.
func (b *bench) firstTime(ctx context.Context) error {
	folder, err := b.fill(ctx, "first", "10G", 4096)
	if err != nil {
		return err
	}
	return b.compare(ctx, "4 GiB for the first time", "first", folder)
}

// compare archives a volume with both.
func (b *bench) compare(ctx context.Context, what, volume, folder string) error {
	if err := b.drop(ctx); err != nil {
		return err
	}
	ours, err := timed(func() error {
		_, err := b.m.Ballast(ctx, "volume", "snapshot", volume)
		return err
	})
	if err != nil {
		return err
	}
	if err := b.restic(ctx, "snapshots"); err != nil {
		if err := b.restic(ctx, "init"); err != nil {
			return err
		}
	}
	if err := b.drop(ctx); err != nil {
		return err
	}
	theirs, err := timed(func() error { return b.restic(ctx, "backup", "--host", "bench", folder) })
	b.say("archive %-28s Ballast %6.1f s, restic %6.1f s: %.2f of its time; agent's memory up to %d MiB", what, ours.Seconds(), theirs.Seconds(), ours.Seconds()/theirs.Seconds(), b.memory.most())
	return err
}

// smallChange archives 100 MiB that changed in 10 GiB.
func (b *bench) smallChange(ctx context.Context) error {
	folder, err := b.fill(ctx, "change", "12G", 10240)
	if err != nil {
		return err
	}
	if err := b.compare(ctx, "10 GiB for the first time", "change", folder); err != nil {
		return err
	}
	if err := b.write(ctx, path.Join(folder, "file"), 5000, 100); err != nil {
		return err
	}
	return b.compare(ctx, "100 MiB changed in 10 GiB", "change", folder)
}

// restores measures from the restore to the first answered query, for each size.
func (b *bench) restores(ctx context.Context) error {
	for _, gib := range b.sizes {
		if err := b.restore(ctx, gib); err != nil {
			return fmt.Errorf("%d GiB: %w", gib, err)
		}
	}
	return nil
}

// scaleOf is pgbench's scale whose data take a GiB.
const scalePerGiB = 68

func (b *bench) restore(ctx context.Context, gib int) error {
	volume := fmt.Sprintf("pg%d", gib)
	if _, err := b.m.Ballast(ctx, "volume", "create", volume, "--size", fmt.Sprintf("%dG", max(10, 2*gib))); err != nil {
		return err
	}
	folder, err := b.m.Ballast(ctx, "volume", "attach", volume)
	if err != nil {
		return err
	}
	if err := b.database(ctx, volume, folder, gib); err != nil {
		return err
	}
	if _, err := b.m.Ballast(ctx, "volume", "snapshot", volume); err != nil {
		return err
	}
	repo := b.restic(ctx, "snapshots")
	if repo != nil {
		repo = b.restic(ctx, "init")
	}
	if repo != nil {
		return repo
	}
	if err := b.restic(ctx, "backup", "--host", "bench", folder); err != nil {
		return err
	}
	if err := b.drop(ctx); err != nil {
		return err
	}
	steps, err := b.ourRestore(ctx, volume)
	if err != nil {
		return err
	}
	ours := steps[0] + steps[1] + steps[2]
	if err := b.drop(ctx); err != nil {
		return err
	}
	theirs, err := timed(func() error { return b.theirRestore(ctx, volume, folder) })
	b.say("restore PostgreSQL with %2d GiB     first answer after %5.2f s (restore %.2f, attach %.2f, PostgreSQL %.2f), with restic after %6.1f s: %.3f of its time",
		gib, ours.Seconds(), steps[0].Seconds(), steps[1].Seconds(), steps[2].Seconds(), theirs.Seconds(), ours.Seconds()/theirs.Seconds())
	return err
}

// database fills PostgreSQL with data, and stops it.
func (b *bench) database(ctx context.Context, name, folder string, gib int) error {
	db, err := postgres.On(ctx, b.m, name, folder)
	if err != nil {
		return err
	}
	if err := db.Init(ctx); err != nil {
		return err
	}
	if err := db.Start(ctx); err != nil {
		return err
	}
	if _, err := db.Output(ctx, "pgbench", "-i", "-q", "-s", fmt.Sprint(gib*scalePerGiB), "postgres"); err != nil {
		return err
	}
	return db.Stop()
}

// ourRestore returns how long the command, the attach and PostgreSQL took.
func (b *bench) ourRestore(ctx context.Context, volume string) (steps [3]time.Duration, err error) {
	again := volume + "-again"
	steps[0], err = timed(func() error {
		_, err := b.m.Ballast(ctx, "volume", "restore", volume, "--at", "now", "--as", again)
		return err
	})
	if err != nil {
		return steps, err
	}
	var folder string
	steps[1], err = timed(func() (err error) {
		folder, err = b.m.Ballast(ctx, "volume", "attach", again)
		return err
	})
	if err != nil {
		return steps, err
	}
	steps[2], err = timed(func() error { return b.answer(ctx, again, folder) })
	return steps, err
}

func (b *bench) theirRestore(ctx context.Context, volume, folder string) error {
	target := b.m.Path("restored-" + volume)
	if err := b.restic(ctx, "restore", "latest", "--target", target); err != nil {
		return err
	}
	return b.answer(ctx, volume+"-restic", path.Join(target, folder))
}

// answer starts PostgreSQL and asks it something.
func (b *bench) answer(ctx context.Context, name, folder string) error {
	db, err := postgres.On(ctx, b.m, name, folder)
	if err != nil {
		return err
	}
	if err := db.Start(ctx); err != nil {
		return err
	}
	_, err = db.Query(ctx, "SELECT abalance FROM pgbench_accounts WHERE aid = 4711")
	return err
}
