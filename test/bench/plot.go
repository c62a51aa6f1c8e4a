package main

import (
	"fmt"
	"html"
	"strings"
)

// Sizes of the plot, in pixels.
const (
	plotLabels = 300 // for the names, on the left
	plotScale  = 420 // for a ratio of 1
	plotWidth  = plotLabels + plotScale*3/2 + 60
	barHeight  = 12
	groupGap   = 14
	plotTop    = 64
)

var bars = []struct{ place, title, colour string }{
	{ballastName, "Ballast", "#0b6e99"},
	{peerOne, "GlusterFS, 1 brick", "#d9a441"},
	{peerTwo, "GlusterFS, 2 bricks", "#a8622b"},
}

// plot draws the ratios as bars, the plain directory being the line at 1.
func plot(r *report) string {
	var body strings.Builder
	y := plotTop
	for _, res := range r.Results {
		if s := res.Places[ballastName]; s == nil || s.Ratio == 0 {
			continue // nothing to be compared with
		}
		y = plotGroup(&body, res, y)
	}
	var all strings.Builder
	fmt.Fprintf(&all, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="11">`+"\n", plotWidth, y+10)
	fmt.Fprintf(&all, `<rect width="100%%" height="100%%" fill="#fff"/><text x="10" y="20" font-size="14">Speed as a ratio to a plain directory of the same disk (medians of %d rounds)</text>`+"\n", r.Rounds)
	plotLegend(&all)
	for _, at := range []float64{0, 0.25, 0.5, 0.75, 1, 1.25, 1.5} {
		plotLine(&all, at, y)
	}
	return all.String() + body.String() + "</svg>\n"
}

func plotGroup(w *strings.Builder, res *result, y int) int {
	fmt.Fprintf(w, `<text x="%d" y="%d" text-anchor="end">%s</text>`+"\n", plotLabels-8, y+barHeight-2, html.EscapeString(res.Title))
	top := y
	for _, bar := range bars {
		s := res.Places[bar.place]
		if s == nil || s.Ratio == 0 {
			continue
		}
		width := plotScale * min(s.Ratio, 1.5)
		fmt.Fprintf(w, `<rect x="%d" y="%d" width="%.1f" height="%d" fill="%s"/><text x="%.1f" y="%d">%.2f</text>`+"\n",
			plotLabels, y, width, barHeight-1, bar.colour, plotLabels+width+4, y+barHeight-2, s.Ratio)
		y += barHeight
	}
	if res.Goal > 0 && !res.isAbsolute() {
		x := plotLabels + plotScale*res.Goal
		fmt.Fprintf(w, `<line x1="%.1f" x2="%.1f" y1="%d" y2="%d" stroke="#c00" stroke-width="2"/>`+"\n", x, x, top-2, top+barHeight+1)
	}
	return y + groupGap
}

func plotLegend(w *strings.Builder) {
	x := plotLabels
	for _, bar := range bars {
		fmt.Fprintf(w, `<rect x="%d" y="32" width="10" height="10" fill="%s"/><text x="%d" y="41">%s</text>`+"\n", x, bar.colour, x+14, bar.title)
		x += 140
	}
	fmt.Fprintf(w, `<line x1="%d" x2="%d" y1="31" y2="43" stroke="#c00" stroke-width="2"/><text x="%d" y="41">to reach</text>`+"\n", x+5, x+5, x+14)
}

// plotLine is a vertical line of the scale.
func plotLine(w *strings.Builder, at float64, bottom int) {
	x, colour := plotLabels+plotScale*at, "#ddd"
	if at == 1 {
		colour = "#333"
	}
	fmt.Fprintf(w, `<line x1="%.1f" x2="%.1f" y1="%d" y2="%d" stroke="%s"/><text x="%.1f" y="%d" text-anchor="middle" fill="#666">%.2g</text>`+"\n",
		x, x, plotTop-4, bottom, colour, x, plotTop-8, at)
}
