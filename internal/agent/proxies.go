package agent

import (
	"fmt"
	"os"
)

// WithoutProxies takes the variables that name proxies out of this process's environment. It is for
// the process of an agent, before Run: etcd's members reach each other by a transport that asks
// the environment and nothing else, and nodes are never reached through a proxy. The archive has read the
// variables by then, and goes by them.
func WithoutProxies() error {
	for _, name := range []string{"HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"} {
		if err := os.Unsetenv(name); err != nil {
			return fmt.Errorf("start agent: do without the proxy of %s: %w", name, err)
		}
	}
	return nil
}
