//go:build linux

package membench

import (
	"bytes"
	"html"
	"os"
	"path/filepath"

	"github.com/wcharczuk/go-chart/v2"
)

// A chart is bars with names.
type barChart struct {
	title, file string
	bars        []chart.Value
}

func (c *barChart) add(name string, value float64) {
	// The library writes texts as they are.
	c.bars = append(c.bars, chart.Value{Label: html.EscapeString(name), Value: value})
}

// draw writes a chart as SVG.
func (b *Bench) draw(c barChart) error {
	if b.Charts == "" {
		return nil
	}
	var top float64
	for _, v := range c.bars {
		top = max(top, v.Value)
	}
	g := chart.BarChart{
		Title: html.EscapeString(c.title), Width: 120 + 110*len(c.bars), Height: 420, BarWidth: 60, Bars: c.bars,
		Background:   chart.Style{Padding: chart.Box{Top: 50, Bottom: 30, Left: 10, Right: 10}},
		UseBaseValue: true,
		YAxis:        chart.YAxis{Range: &chart.ContinuousRange{Min: 0, Max: top * 1.1}},
	}
	var svg bytes.Buffer
	if err := g.Render(chart.SVG, &svg); err != nil {
		return err
	}
	if err := os.MkdirAll(b.Charts, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(b.Charts, c.file), svg.Bytes(), 0o644)
}
