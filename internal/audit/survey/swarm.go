package survey

import (
	"context"

	"github.com/ballast-io/ballast/internal/audit"
)

func (s *surveyor) nodes(ctx context.Context) {
	var answer []struct {
		ID          string
		Spec        struct{ Labels map[string]string }
		Description struct{ Hostname string }
	}
	if err := s.get(ctx, "/nodes", &answer); err != nil {
		s.gap("Swarm nodes", err)
	}
	for _, n := range answer {
		s.world.Nodes = append(s.world.Nodes, audit.Node{ID: n.ID, Hostname: n.Description.Hostname, Labels: n.Spec.Labels})
	}
}

// service is the engine's description of a service, as far as it matters here.
type service struct {
	Spec struct {
		Name string
		Mode struct {
			Replicated *struct{ Replicas uint64 }
			Global     *struct{}
		}
		TaskTemplate struct {
			Placement     struct{ Constraints []string }
			ContainerSpec struct {
				Image         string
				Command, Args []string
				Mounts        []serviceMount
			}
		}
	}
}

type serviceMount struct {
	Type, Source, Target string
	ReadOnly             bool
	VolumeOptions        struct {
		DriverConfig struct {
			Name    string
			Options map[string]string
		}
	}
}

func (s *surveyor) services(ctx context.Context) {
	var answer []service
	if err := s.get(ctx, "/services", &answer); err != nil {
		s.gap("Swarm services", err)
	}
	for _, svc := range answer {
		s.world.Services = append(s.world.Services, svc.describe())
	}
}

func (s service) describe() audit.Service {
	task := s.Spec.TaskTemplate
	d := audit.Service{
		Name:        s.Spec.Name,
		Image:       image(task.ContainerSpec.Image),
		Args:        append(task.ContainerSpec.Command, task.ContainerSpec.Args...),
		Global:      s.Spec.Mode.Global != nil,
		Constraints: task.Placement.Constraints,
	}
	if r := s.Spec.Mode.Replicated; r != nil {
		d.Replicas = r.Replicas
	}
	for _, m := range task.ContainerSpec.Mounts {
		d.Mounts = append(d.Mounts, m.describe())
	}
	return d
}

func (m serviceMount) describe() audit.Mount {
	d := audit.Mount{
		Kind: audit.MountKind(m.Type), Source: m.Source, Target: m.Target, ReadOnly: m.ReadOnly,
		Driver: m.VolumeOptions.DriverConfig.Name, Options: m.VolumeOptions.DriverConfig.Options,
	}
	if d.Kind == audit.VolumeMount {
		d.Name, d.Source = m.Source, ""
	}
	return d
}
