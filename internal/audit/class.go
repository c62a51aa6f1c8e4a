package audit

import (
	"path"
	"slices"
	"strings"

	"github.com/ballast-io/ballast"
)

// app is what an image's name tells about the state of its containers.
type app struct {
	kind   ballast.Class
	reason string
}

// known are images whose state is not the only copy, or that are often taken for
// such. What is not here is the only copy until somebody says otherwise.
var known = []struct {
	images []string
	app
}{
	{[]string{"memcached", "varnish", "squid", "docker-registry-proxy", "apt-cacher-ng", "nscd", "dnsmasq", "unbound", "pgbouncer"},
		app{ballast.Cache, "a cache: it fills again by itself"}},
	{[]string{"cassandra", "scylla", "etcd", "consul", "zookeeper", "kafka", "cp-kafka", "redpanda", "cockroach", "elasticsearch", "opensearch",
		"galera", "mariadb-galera", "percona-xtradb-cluster", "pxc", "clickhouse-keeper", "nats", "rqlite", "yugabyte", "tikv", "pd", "aerospike", "foundationdb", "riak", "ignite", "hazelcast", "rabbitmq", "redis-cluster", "valkey-cluster"},
		app{ballast.Clustered, "its members replicate the state among themselves; if this is the only member: class=primary"}},
	{[]string{"postgres", "postgis", "timescaledb", "pgvector", "mysql", "mariadb", "percona", "mongo", "mongodb", "influxdb", "neo4j", "couchdb", "clickhouse-server", "mssql-server", "sqlite", "surrealdb", "meilisearch", "qdrant"},
		app{ballast.Primary, "a database: this is the only copy"}},
}

// keyStores keep everything in memory and may write it down.
var keyStores = []string{"redis", "valkey", "keydb", "dragonfly", "redis-stack", "redis-stack-server"}

// appOf recognises the application by its image and arguments.
func appOf(image string, args []string) app {
	name := baseName(image)
	if slices.Contains(keyStores, name) {
		return keyStore(args)
	}
	if isGalera(args) {
		return app{ballast.Clustered, "Galera replicates it; if this is the only member: class=primary"}
	}
	if slices.Contains(args, "--replSet") {
		return app{ballast.Clustered, "a replica set replicates it; if this is the only member: class=primary"}
	}
	for _, k := range known {
		if slices.Contains(k.images, name) {
			return k.app
		}
	}
	return app{ballast.Primary, "nothing says that there is another copy"}
}

// baseName is the last word of an image's name: "registry.example/library/redis:7" is
// "redis".
func baseName(image string) string {
	image, _, _ = strings.Cut(image, "@")
	name := path.Base(image)
	name, _, _ = strings.Cut(name, ":")
	return strings.ToLower(name)
}

// keyStore tells Redis and its kin as a cache from those told to keep what they
// hold.
func keyStore(args []string) app {
	for i, arg := range args {
		value := ""
		if i+1 < len(args) {
			value = args[i+1]
		}
		switch {
		case arg == "--appendonly" && value == "yes", arg == "--save" && strings.Trim(value, `"' `) != "":
			return app{ballast.Primary, "told to persist (" + arg + "): this is the only copy"}
		case strings.HasSuffix(arg, ".conf"):
			return app{ballast.Primary, "its configuration file may tell it to persist; a mere cache: class=cache"}
		}
	}
	return app{ballast.Cache, "not told to persist, so a cache; if its keys cannot be made again: class=primary"}
}

func isGalera(args []string) bool {
	return slices.ContainsFunc(args, func(arg string) bool { return strings.Contains(arg, "wsrep") })
}

// class proposes the class of what the application keeps at p.
func (a app) class(p string) (ballast.Class, string) {
	switch {
	case under(p, []string{"/tmp", "/var/tmp", "/run", "/var/run"}) || strings.HasSuffix(p, "/tmp"):
		return ballast.Scratch, "temporary files"
	case under(p, []string{"/var/log"}) || strings.HasSuffix(p, "/logs"):
		return ballast.Scratch, "logs; those on the standard output are kept by Docker"
	case under(p, []string{"/var/cache"}) || path.Base(p) == "cache" || path.Base(p) == ".cache":
		return ballast.Cache, "a cache by its name"
	}
	return a.kind, a.reason
}
