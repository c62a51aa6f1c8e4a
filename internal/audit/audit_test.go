package audit

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/ballast-io/ballast"
)

// local is a world around one container with the mounts.
func around(c Container, volumes ...Volume) World {
	if c.Name == "" {
		c.Name = "db"
	}
	return World{Containers: []Container{c}, Volumes: volumes}
}

func swarm(s Service, nodes ...Node) World {
	if s.Name == "" {
		s.Name = "db"
	}
	return World{Swarm: true, Manager: true, Services: []Service{s}, Nodes: nodes}
}

var (
	hex64   = strings.Repeat("0123456789abcdef", 4)
	n1, n2  = Node{Hostname: "n1", Labels: map[string]string{"db": "here"}}, Node{Hostname: "n2"}
	named   = Mount{Kind: VolumeMount, Name: "data", Driver: "local", Target: "/data"}
	folder1 = Mount{Kind: BindMount, Source: "/srv/db", Target: "/data"}
)

func changed(paths ...string) []Change {
	var all []Change
	for _, p := range paths {
		all = append(all, Change{Path: p})
	}
	return all
}

// TestExamine names the places, and what becomes of what is there (U1, U2).
func TestExamine(t *testing.T) {
	for _, tt := range []struct {
		name string
		in   World
		want []string
	}{
		{"nothing runs", World{}, nil},
		{"volume that Docker named", around(Container{Mounts: []Mount{{Kind: VolumeMount, Name: hex64, Target: "/data"}}}),
			[]string{"lost anonymous-volume container db /data"}},
		{"volume that Docker marked", around(Container{Mounts: []Mount{named}}, Volume{Name: "data", Anonymous: true}),
			[]string{"lost anonymous-volume container db /data"}},
		{"local volume of a container", around(Container{Mounts: []Mount{named}}, Volume{Name: "data"}),
			[]string{"tied local-volume container db /data"}},
		{"local volume on NFS", around(Container{Mounts: []Mount{named}}, Volume{Name: "data", Options: map[string]string{"type": "nfs"}}), nil},
		{"ballast volume", around(Container{Mounts: []Mount{{Kind: VolumeMount, Name: "db", Driver: "ballast", Target: "/data"}}}), nil},
		{"folder of the host", around(Container{Mounts: []Mount{folder1}}), []string{"tied bind-mount container db /data"}},
		{"folder that is only read", around(Container{Mounts: []Mount{{Kind: BindMount, Source: "/etc/app", Target: "/etc/app", ReadOnly: true}}}), nil},
		{"Docker's socket", around(Container{Mounts: []Mount{{Kind: BindMount, Source: "/var/run/docker.sock", Target: "/var/run/docker.sock"}}}), nil},
		{"a socket elsewhere", around(Container{Mounts: []Mount{{Kind: BindMount, Source: "/srv/x.sock", Target: "/x"}}}), nil},
		{"the machine's clock", around(Container{Mounts: []Mount{{Kind: BindMount, Source: "/etc/localtime", Target: "/etc/localtime"}}}), nil},

		{"files written into the container", around(Container{Changed: changed("/var", "/var/lib", "/var/lib/app", "/var/lib/app/a", "/var/lib/app/b/c")}),
			[]string{"lost writable-layer container db /var/lib/app 2"}},
		{"files written into several folders", around(Container{Changed: changed("/data", "/data/x", "/opt/app/y", "/home/ann/z")}),
			[]string{"lost writable-layer container db /data 1", "lost writable-layer container db /home/ann 1", "lost writable-layer container db /opt/app 1"}},
		{"a file in the root folder", around(Container{Changed: changed("/x")}), []string{"lost writable-layer container db / 1"}},
		{"litter", around(Container{Changed: changed("/run/x.pid", "/tmp/y", "/etc/hosts", "/root/.bash_history", "/srv/app/z.lock", "/srv/app/__pycache__/m.x")}), nil},
		{"deleted files", around(Container{Changed: []Change{{Path: "/srv/x", Deleted: true}}}), nil},
		{"where a volume is mounted", around(Container{Mounts: []Mount{{Kind: VolumeMount, Driver: "ballast", Target: "/var/lib/app"}}, Changed: changed("/var/lib", "/var/lib/app", "/var/lib/app/x")}), nil},
		{"above a mount only", around(Container{Tmpfs: []string{"/scratch/deep"}, Changed: changed("/scratch", "/scratch/deep")}), nil},
		{"packages installed by hand", around(Container{Changed: changed("/var/lib/dpkg/status", "/usr/bin/vim", "/usr/share/vim/x", "/srv/a/x")}),
			[]string{"lost writable-layer container db /srv/a 1", "lost writable-layer container db /usr 3"}},
		{"an application below /usr", around(Container{Changed: changed("/usr/share/grafana/data/grafana.db")}),
			[]string{"lost writable-layer container db /usr/share/grafana 1"}},

		{"service: volume without a name", swarm(Service{Mounts: []Mount{{Kind: VolumeMount, Target: "/data"}}}, n1, n2),
			[]string{"lost anonymous-volume service db /data"}},
		{"service: nothing pins it", swarm(Service{Mounts: []Mount{named}}, n1, n2), []string{"behind local-volume service db /data"}},
		{"service: pinned by name", swarm(Service{Mounts: []Mount{named}, Constraints: []string{"node.hostname == n1"}}, n1, n2), []string{"tied local-volume service db /data"}},
		{"service: pinned by a label of one node", swarm(Service{Mounts: []Mount{named}, Constraints: []string{"node.labels.db==HERE"}}, n1, n2), []string{"tied local-volume service db /data"}},
		{"service: a label of no node", swarm(Service{Mounts: []Mount{named}, Constraints: []string{"node.labels.db==there"}}, n1, n2), []string{"behind local-volume service db /data"}},
		{"service: kept away from a node", swarm(Service{Mounts: []Mount{named}, Constraints: []string{"node.hostname!=n2"}}, n1, n2), []string{"behind local-volume service db /data"}},
		{"service: only managers", swarm(Service{Mounts: []Mount{named}, Constraints: []string{"node.role==manager"}}, n1, n2), []string{"behind local-volume service db /data"}},
		{"service: one node", swarm(Service{Mounts: []Mount{named}}, n1), []string{"tied local-volume service db /data"}},
		{"service: several tasks", swarm(Service{Mounts: []Mount{named}, Replicas: 3}, n1), []string{"behind local-volume service db /data"}},
		{"service: one on each node", swarm(Service{Mounts: []Mount{named}, Global: true}, n1, n2), []string{"tied local-volume service db /data"}},
		{"service: folder of some host", swarm(Service{Mounts: []Mount{folder1}}, n1, n2), []string{"behind bind-mount service db /data"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			for _, f := range Examine(tt.in) {
				line := fmt.Sprintf("%s %s %s %s", f.Gravity, f.Kind, f.Owner, f.Path)
				if f.Files > 0 {
					line += fmt.Sprintf(" %d", f.Files)
				}
				got = append(got, line)
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("Examine = %q; want %q", got, tt.want)
			}
		})
	}
}

// TestTasksOfAService are told once, for the service (U1).
func TestTasksOfAService(t *testing.T) {
	task := Container{Name: "db.1.x", Service: "db", Mounts: []Mount{named, {Kind: VolumeMount, Name: hex64, Target: "/anon"}}}
	other := task
	other.Name = "db.2.y"
	w := swarm(Service{Mounts: []Mount{named}}, n1, n2)
	w.Containers = []Container{task, other}
	got := Examine(w)
	if len(got) != 2 || got[0].Path != "/anon" || got[1].Gravity != Behind {
		t.Errorf("Examine = %+v; want the unnamed volume and the local one, once each", got)
	}
	w.Services = nil // a worker does not know the services
	if got := Examine(w); len(got) != 2 || got[1].Gravity != Behind || !got[1].Owner.Service {
		t.Errorf("Examine on a worker = %+v; want two findings of the service", got)
	}
}

// TestClass proposes how much care the state needs.
func TestClass(t *testing.T) {
	for _, tt := range []struct {
		image string
		args  string
		path  string
		want  string
	}{
		{"redis:7", "redis-server", "/data", "cache"},
		{"registry.example.org:5000/library/valkey@sha256:aa", "", "/data", "cache"},
		{"redis", "redis-server --appendonly yes", "/data", "primary"},
		{"redis", "redis-server --appendonly no", "/data", "cache"},
		{"redis", "redis-server --save ''", "/data", "cache"},
		{"redis", "redis-server --save 60", "/data", "primary"},
		{"redis", "redis-server /etc/redis.conf", "/data", "primary"},
		{"memcached:1.6", "", "/data", "cache"},
		{"cassandra", "", "/var/lib/cassandra", "clustered"},
		{"registry.example/coreos/etcd:v3.5.0", "", "/data", "clustered"},
		{"mariadb", "--wsrep-on=ON", "/var/lib/mysql", "clustered"},
		{"mariadb", "", "/var/lib/mysql", "primary"},
		{"mongo", "mongod --replSet rs0", "/data/db", "clustered"},
		{"postgres:17", "", "/var/lib/postgresql/data", "primary"},
		{"postgres:17", "", "/tmp", "scratch"},
		{"tomcat", "", "/usr/local/tomcat/logs", "scratch"},
		{"nginx", "", "/var/cache/nginx", "cache"},
		{"shop/web", "", "/app/uploads", "primary"},
	} {
		if got, why := appOf(tt.image, strings.Fields(tt.args)).class(tt.path); string(got) != tt.want || why == "" {
			t.Errorf("class of %s %s at %s = %s (%q); want %s", tt.image, tt.args, tt.path, got, why, tt.want)
		}
	}
}

// TestClassOfAService looks at how a task was started, not only at what the
// service's description adds to its image.
func TestClassOfAService(t *testing.T) {
	w := swarm(Service{Image: "redis", Mounts: []Mount{named}}, n1, n2)
	if got := Examine(w); got[0].Class != ballast.Cache {
		t.Errorf("Examine = %+v; want a cache", got)
	}
	w.Containers = []Container{{Name: "db.1", Image: "redis", Service: "db", Args: []string{"redis-server", "--appendonly", "yes"}}}
	if got := Examine(w); got[0].Class != ballast.Primary {
		t.Errorf("Examine = %+v; want the only copy", got)
	}
}

// TestInstead gives lines that can be typed.
func TestInstead(t *testing.T) {
	compose := around(Container{Compose: "web", Image: "redis", Changed: changed("/data/dump.rdb")})
	service := swarm(Service{Image: "postgres", Mounts: []Mount{named}}, n1, n2)
	taken := around(Container{Image: "postgres", Mounts: []Mount{named}}, Volume{Name: "db"})
	for _, tt := range []struct {
		name string
		in   World
		want []string
	}{
		{"container", around(Container{Image: "redis", Changed: changed("/data/dump.rdb")}),
			[]string{"docker volume create -d ballast -o class=cache db", "docker run … -v db:/data …"}},
		{"container whose name is taken", taken, []string{"docker volume create -d ballast db-2", "docker run … -v db-2:/data …"}},
		{"Compose", compose, []string{"in the file's volumes: web: {driver: ballast, driver_opts: {class: cache}}", "in the service's volumes: web:/data"}},
		{"service", service, []string{"docker service update --mount-rm /data --mount-add type=volume,source=db,target=/data,volume-driver=ballast db"}},
		{"software", around(Container{Changed: changed("/usr/bin/vim")}), []string{"build it into the image: software and configuration are not state"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := Examine(tt.in)
			if len(got) != 1 || !slices.Equal(got[0].Instead, tt.want) {
				t.Errorf("Examine = %+v; want one finding with %q", got, tt.want)
			}
		})
	}
}
