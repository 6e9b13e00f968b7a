package pager

import (
	"strings"
	"testing"

	"github.com/weir-run/weir/device"
	"github.com/weir-run/weir/fault"
	"github.com/weir-run/weir/host"
)

// TestClaim has weights make way for what is claimed, on both kinds of
// devices, and counts what cannot be claimed beside a pass.
func TestClaim(t *testing.T) {
	for _, unified := range []bool{true, false} {
		d := &fake{total: 5000, ram: 1000, unified: unified}
		p := d.pager(t, Options{})
		m, _ := manifest("m", sizes(8, 100)...)
		s := model(t, p, m, scan(8))
		if err := run(t, d, s, 2); err != nil {
			t.Fatal(err)
		}
		if err := p.Claim(t.Context(), 650); err != nil {
			t.Fatal(err)
		}
		p.check(t, d)
		if got := p.Stats().RAM; got.Claimed != 650 || got.Held() > 1000 || got.Resident > 350 {
			t.Errorf("beside what is claimed the memory holds %+v", got)
		}
		// Half of the weights pass through now.
		if err := run(t, d, s, 2); err != nil {
			t.Fatal(err)
		}
		p.check(t, d)
		err := p.Claim(t.Context(), 351)
		if fault.Of(err) != fault.Memory || !strings.Contains(err.Error(), "RAM has 0.00 MiB") {
			t.Errorf("got %v of kind %q", err, fault.Of(err))
		}
		if err := p.Claim(t.Context(), 350); err != nil {
			t.Error(err)
		}
		if err := p.Claim(t.Context(), -1000); err != nil {
			t.Error(err)
		}
		if got := p.Stats().RAM; got.Claimed != 0 {
			t.Errorf("%d bytes are claimed by nobody", got.Claimed)
		}
		moved := p.Stats().Top().Moved
		if err := run(t, d, s, 2); err != nil {
			t.Fatal(err)
		}
		if unified && p.Stats().Top().Moved != moved+800 {
			t.Errorf("%d bytes were moved when the memory was given back", p.Stats().Top().Moved-moved)
		}
		if !unified {
			continue
		}
		// What a pass works with cannot be claimed.
		pass, err := p.Begin(t.Context(), s, 300)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Claim(t.Context(), 601); fault.Of(err) != fault.Memory {
			t.Errorf("got %v", err)
		}
		if err := p.Claim(t.Context(), 600); err != nil {
			t.Error(err)
		}
		p.check(t, d)
		pass.End()
	}
}

// TestRoom says why a budget is as small as it is.
func TestRoom(t *testing.T) {
	for want, c := range map[string]struct {
		info  host.Info
		limit int64
	}{
		"RAM has 36.00 MiB: of 64.00 MiB, the limit of control group /box, 40.00 MiB are free, and 4.00 MiB are left to other programs": {host.Info{Total: 64 << 20, Available: 40 << 20, Limit: 64 << 20, Group: "/box"}, 0},
		"RAM has 7168.00 MiB: of 16384.00 MiB, the machine's, 8192.00 MiB are free, and 1024.00 MiB are left to other programs":         {host.Info{Total: 16 << 30, Available: 8 << 30}, 0},
		"RAM has 1.00 MiB": {host.Info{Total: 16 << 30, Available: 8 << 30}, 1 << 20},
	} {
		p := New(&fake{unified: true, total: 1 << 30}, Options{RAM: c.limit, Host: func() (host.Info, error) { return c.info, nil }})
		if got := p.Room(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		p.Close()
	}
}

// inHost is a discrete device whose memory is the host's.
type inHost struct{ *fake }

func (d inHost) Info() device.Info {
	info := d.fake.Info()
	info.InHost = true
	return info
}

// TestMemoryOfADeviceInTheHost leaves in the host's memory what such a device
// may still take, and counts what the program takes for itself.
func TestMemoryOfADeviceInTheHost(t *testing.T) {
	d := &fake{total: 400, ram: 1000}
	p := New(inHost{d}, Options{Host: d.host, Own: 100})
	t.Cleanup(p.Close)
	p.Refresh()
	if got := p.Stats().RAM.Budget; got != 1000-400-100 {
		t.Errorf("the budget of the host's memory is %d, want 500", got)
	}
	m, _ := manifest("m", sizes(3, 100)...)
	if err := run(t, d, model(t, p, m, scan(3)), 1); err != nil {
		t.Fatal(err)
	}
	d.set(func() { d.ram -= 300 }) // that the device has taken
	p.Refresh()
	if got := p.Stats().RAM.Budget; got != 500 {
		t.Errorf("the budget is %d when the device has taken 300, want 500", got)
	}
}
