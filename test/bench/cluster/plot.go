package main

import (
	"fmt"
	"math"
	"strings"
)

// Sizes of a plot, in pixels.
const (
	plotWidth  = 420
	plotHeight = 180
	plotLeft   = 60
	plotTop    = 40
)

// plot shows how things grow with the number of volumes: one diagram each, the number on
// a logarithmic scale, the value from 0.
func plot(all []growth) string {
	diagrams := []struct {
		title string
		value func(growth) float64
	}{
		{"memory of the greatest agent, MiB", func(g growth) float64 { return greatest(g.AgentMiB) }},
		{"sent by all nodes, KiB a minute", func(g growth) float64 { return g.Traffic / 1024 }},
		{"requests to etcd a minute", func(g growth) float64 { return g.Requests }},
		{"attach, ms", func(g growth) float64 { return g.AttachMS }},
		{"all agents' CPU, % of one core", func(g growth) float64 { return g.AgentsCPU }},
	}
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="11"><rect width="100%%" height="100%%" fill="#fff"/>`+"\n",
		2*(plotWidth+plotLeft+40), (len(diagrams)+1)/2*(plotHeight+plotTop+40))
	for i, d := range diagrams {
		fmt.Fprintf(&b, `<g transform="translate(%d %d)">`+"\n", (i%2)*(plotWidth+plotLeft+40), (i/2)*(plotHeight+plotTop+40))
		diagram(&b, d.title, all, d.value)
		b.WriteString("</g>\n")
	}
	return b.String() + "</svg>\n"
}

func greatest(values []float64) float64 {
	most := 0.0
	for _, v := range values {
		most = max(most, v)
	}
	return most
}

func diagram(b *strings.Builder, title string, all []growth, value func(growth) float64) {
	top := 0.0
	for _, g := range all {
		top = max(top, value(g))
	}
	if len(all) == 0 || top == 0 {
		return
	}
	first, last := math.Log(float64(all[0].Volumes)), math.Log(float64(all[len(all)-1].Volumes))
	at := func(g growth) (x, y float64) {
		share := 0.0
		if last > first {
			share = (math.Log(float64(g.Volumes)) - first) / (last - first)
		}
		return plotLeft + share*plotWidth, plotTop + plotHeight*(1-value(g)/top)
	}
	fmt.Fprintf(b, `<text x="%d" y="20" font-size="13">%s</text><path d="M%d %d v%d h%d" fill="none" stroke="#333"/>`+"\n", plotLeft, title, plotLeft, plotTop, plotHeight, plotWidth)
	var line strings.Builder
	for _, g := range all {
		x, y := at(g)
		fmt.Fprintf(&line, "%.1f,%.1f ", x, y)
		fmt.Fprintf(b, `<circle cx="%.1f" cy="%.1f" r="3" fill="#0b6e99"/><text x="%.1f" y="%.1f">%.3g</text><text x="%.1f" y="%d" text-anchor="middle">%d</text>`+"\n",
			x, y, x+5, y-5, value(g), x, plotTop+plotHeight+16, g.Volumes)
	}
	fmt.Fprintf(b, `<polyline points="%s" fill="none" stroke="#0b6e99"/>`+"\n", line.String())
}
