package main

import (
	"fmt"
	"maps"
	"math/rand"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// draw makes up writes of a few managers to one machine.
type draw struct{ *rand.Rand }

func newDraw(seed int64) *draw { return &draw{rand.New(rand.NewSource(seed))} }

func (d *draw) length() int { return 4 + d.Intn(7) }

func (d *draw) one(of ...string) string { return of[d.Intn(len(of))] }

func (d *draw) chance(percent int) bool { return d.Intn(100) < percent }

func (d *draw) step(live *unstructured.Unstructured) Step {
	step := Step{Verb: "apply", Manager: d.one("ana", "ben", "cem"), Version: "v1"}
	if d.chance(12) {
		step.Version = "v2"
	}
	apiVersion := group + "/" + step.Version
	if live != nil && d.chance(25) {
		step.Subresource = "status"
	}
	step.Force = d.chance(50)
	if d.chance(35) {
		step.Verb = "update"
		if live == nil {
			step.Verb = "create"
		} else {
			step.Object = live.DeepCopy().Object
			d.change(step.Object, step.Subresource)
		}
	}
	if step.Object == nil {
		step.Object = d.machine(step.Subresource)
	}
	step.Object["apiVersion"] = apiVersion
	return step
}

func (d *draw) machine(subresource string) map[string]any {
	object := map[string]any{"kind": kind, "metadata": map[string]any{"name": "m"}}
	if d.chance(50) {
		object["metadata"].(map[string]any)["labels"] = d.labels()
	}
	if d.chance(15) {
		object["metadata"].(map[string]any)["finalizers"] = d.texts("a.dev/x", "a.dev/y")
	}
	if subresource == "" || d.chance(20) {
		object["spec"] = d.spec()
	}
	if subresource != "" || d.chance(10) {
		object["status"] = d.status()
	}
	return object
}

func (d *draw) labels() map[string]any {
	out := map[string]any{}
	for _, name := range []string{"app", "tier", "zone"} {
		if d.chance(40) {
			out[name] = d.one("a", "b")
		}
	}
	return out
}

func (d *draw) texts(of ...string) []any {
	out := []any{}
	for _, index := range d.Perm(len(of)) {
		if d.chance(55) {
			out = append(out, of[index])
		}
	}
	return out
}

func (d *draw) spec() map[string]any {
	out := map[string]any{}
	put := func(percent int, name string, value func() any) {
		if d.chance(percent) {
			out[name] = value()
		}
	}
	put(45, "size", func() any { return d.one("small", "large") })
	put(35, "replicas", func() any { return int64(d.Intn(3)) })
	put(50, "disks", func() any { return d.items([]string{"root", "data", "log"}, d.disk) })
	put(40, "ports", func() any { return d.ports() })
	put(35, "tags", func() any { return d.texts("x", "y", "z") })
	put(30, "order", func() any { return d.texts("p", "q") })
	put(30, "limits", func() any { return map[string]any{d.one("cpu", "memory"): int64(d.Intn(3))} })
	put(30, "selector", func() any { return map[string]any{d.one("app", "tier"): d.one("a", "b")} })
	put(25, "extra", func() any {
		return map[string]any{"deep": map[string]any{d.one("k", "l"): d.Intn(2) == 0}, "list": d.texts("1", "2")}
	})
	put(15, "target", func() any {
		if d.chance(50) {
			return int64(80)
		}
		return "http"
	})
	put(15, "network", func() any {
		if d.chance(20) {
			return nil
		}
		return map[string]any{d.one("name", "mac"): d.one("a", "b")}
	})
	return out
}

func (d *draw) items(names []string, make func(string) map[string]any) []any {
	out := []any{}
	for _, index := range d.Perm(len(names)) {
		if d.chance(55) {
			out = append(out, make(names[index]))
		}
	}
	return out
}

func (d *draw) disk(name string) map[string]any {
	out := map[string]any{"name": name}
	if d.chance(60) {
		out["size"] = d.one("1Gi", "2Gi")
	}
	if d.chance(30) {
		out["labels"] = d.labels()
	}
	return out
}

func (d *draw) ports() []any {
	out, seen := []any{}, map[string]bool{}
	for range d.Intn(3) {
		port := map[string]any{"port": int64(80 + d.Intn(2))}
		protocol := d.one("TCP", "UDP", "")
		if protocol != "" {
			port["protocol"] = protocol
		}
		if d.chance(40) {
			port["name"] = d.one("a", "b")
		}
		key := fmt.Sprint(port["port"], d.or(protocol, "TCP"))
		if !seen[key] {
			seen[key] = true
			out = append(out, port)
		}
	}
	return out
}

func (d *draw) or(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}

func (d *draw) status() map[string]any {
	out := map[string]any{"observed": int64(d.Intn(3))}
	if d.chance(60) {
		out["conditions"] = d.items([]string{"Ready", "Stalled"}, func(name string) map[string]any {
			return map[string]any{"type": name, "status": d.one("True", "False")}
		})
	}
	return out
}

// change alters an object as somebody does who has read it: a part is replaced or goes.
func (d *draw) change(object map[string]any, subresource string) {
	part, fresh := "spec", d.spec
	if subresource != "" {
		part, fresh = "status", d.status
	}
	old, _ := object[part].(map[string]any)
	if old == nil {
		old = map[string]any{}
	}
	made := fresh()
	for _, name := range slices.Sorted(maps.Keys(made)) {
		if d.chance(60) {
			old[name] = made[name]
		}
	}
	if d.chance(20) {
		delete(old, "disks")
	}
	object[part] = old
	if d.chance(20) {
		object["metadata"].(map[string]any)["labels"] = d.labels()
	}
}
