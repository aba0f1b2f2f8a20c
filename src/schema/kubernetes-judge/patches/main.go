// The judge behind tests/patches.rs: random patches and label selectors, with what the Go libraries behind kube-apiserver
// make of them.
//
//	go mod tidy && go run ./patches > ../tests/data/patches.json
package main

import (
	"encoding/json"
	"fmt"
	"math/rand"
	"os"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
)

type Port struct {
	Port  int    `json:"port,omitempty"`
	Proto string `json:"proto,omitempty"`
}
type Item struct {
	Name  string `json:"name,omitempty"`
	Value string `json:"value,omitempty"`
	Ports []Port `json:"ports,omitempty" patchStrategy:"merge" patchMergeKey:"port"`
}
type Rolling struct {
	Max string `json:"max,omitempty"`
}
type Strategy struct {
	Type    string   `json:"type,omitempty"`
	Rolling *Rolling `json:"rolling,omitempty"`
}
type Whole struct {
	A string `json:"a,omitempty"`
	B string `json:"b,omitempty"`
}
type Thing struct {
	Data       map[string]string `json:"data,omitempty"`
	Finalizers []string          `json:"finalizers,omitempty" patchStrategy:"merge"`
	Args       []string          `json:"args,omitempty"`
	Strategy   *Strategy         `json:"strategy,omitempty" patchStrategy:"retainKeys"`
	Whole      *Whole            `json:"whole,omitempty" patchStrategy:"replace"`
	Items      []Item            `json:"items,omitempty" patchStrategy:"merge" patchMergeKey:"name"`
}

var r = rand.New(rand.NewSource(7))

func pick(s ...string) string { return s[r.Intn(len(s))] }
func some(n int, all ...string) []string {
	var out []string
	for _, i := range r.Perm(len(all)) {
		if len(out) < n {
			out = append(out, all[i])
		}
	}
	return out
}
func thing() Thing {
	t := Thing{}
	if r.Intn(3) > 0 {
		t.Data = map[string]string{}
		for _, k := range some(r.Intn(4), "a", "b", "c", "d") {
			t.Data[k] = pick("1", "2", "")
		}
	}
	t.Finalizers = some(r.Intn(5), "x", "y", "z", "w")
	t.Args = some(r.Intn(3), "p", "q", "r")
	if r.Intn(3) > 0 {
		t.Strategy = &Strategy{Type: pick("", "R", "S")}
		if r.Intn(2) > 0 {
			t.Strategy.Rolling = &Rolling{Max: pick("1", "2")}
		}
	}
	if r.Intn(3) > 0 {
		t.Whole = &Whole{pick("", "1"), pick("", "1")}
	}
	for _, n := range some(r.Intn(5), "a", "b", "c", "d", "e") {
		it := Item{Name: n, Value: pick("", "1", "2")}
		for _, p := range r.Perm(4)[:r.Intn(4)] {
			it.Ports = append(it.Ports, Port{80 + p, pick("", "t", "u")})
		}
		t.Items = append(t.Items, it)
	}
	return t
}
func change(t Thing) Thing {
	b, _ := json.Marshal(t)
	var n Thing
	json.Unmarshal(b, &n)
	o := thing()
	if r.Intn(3) == 0 {
		n.Data = o.Data
	}
	if r.Intn(2) == 0 {
		n.Finalizers = o.Finalizers
	}
	if r.Intn(3) == 0 {
		n.Args = o.Args
	}
	if r.Intn(2) == 0 {
		n.Strategy = o.Strategy
	}
	if r.Intn(3) == 0 {
		n.Whole = o.Whole
	}
	if r.Intn(3) == 0 {
		n.Items = o.Items
	} else {
		r.Shuffle(len(n.Items), func(i, j int) { n.Items[i], n.Items[j] = n.Items[j], n.Items[i] })
		for i := range n.Items {
			if r.Intn(3) == 0 {
				n.Items[i].Value = pick("", "1", "3")
			}
			if r.Intn(3) == 0 && len(n.Items[i].Ports) > 0 {
				n.Items[i].Ports = n.Items[i].Ports[1:]
			}
		}
		if len(n.Items) > 0 && r.Intn(3) == 0 {
			n.Items = n.Items[1:]
		}
		for _, it := range o.Items {
			have := false
			for _, x := range n.Items {
				have = have || x.Name == it.Name
			}
			if !have && r.Intn(3) == 0 {
				n.Items = append(n.Items, it)
			}
		}
	}
	return n
}

type Case struct {
	Target json.RawMessage `json:"target"`
	Patch  json.RawMessage `json:"patch"`
	Result json.RawMessage `json:"result,omitempty"`
	Error  string          `json:"error,omitempty"`
}
type Sel struct {
	Text    string `json:"text"`
	Error   string `json:"error,omitempty"`
	Printed string `json:"printed"`
	Matches []bool `json:"matches"`
}
type All struct {
	Strategic []Case              `json:"strategic"`
	Json      []Case              `json:"json"`
	Merge     []Case              `json:"merge"`
	Labels    []map[string]string `json:"labels"`
	Selectors []Sel               `json:"selectors"`
}

func value(d int) interface{} {
	switch k := r.Intn(7); {
	case k < 2 && d > 0:
		m := map[string]interface{}{}
		for _, n := range some(r.Intn(4), "a", "b", "c", "x/y") {
			m[n] = value(d - 1)
		}
		return m
	case k < 4 && d > 0:
		l := []interface{}{}
		for i := r.Intn(4); i > 0; i-- {
			l = append(l, value(d-1))
		}
		return l
	case k == 4:
		return nil
	case k == 5:
		return r.Intn(3)
	}
	return pick("s", "t")
}
func path() string {
	p := ""
	for i := r.Intn(4); i >= 0; i-- {
		p += "/" + pick("a", "b", "c", "0", "1", "-", "-1", "x~1y", "5")
	}
	if r.Intn(20) == 0 {
		return ""
	}
	return p
}

func main() {
	var all All
	for i := 0; i < 400; i++ {
		base := thing()
		modified := change(base)
		server := base
		if i%2 == 1 {
			server = change(base)
		}
		ob, _ := json.Marshal(base)
		mb, _ := json.Marshal(modified)
		sb, _ := json.Marshal(server)
		var patch []byte
		var err error
		if i%4 == 3 {
			patch, err = strategicpatch.CreateThreeWayMergePatch(ob, mb, sb, mustMeta(), true)
		} else {
			patch, err = strategicpatch.CreateTwoWayMergePatch(ob, mb, Thing{})
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			continue
		}
		c := Case{Target: sb, Patch: patch}
		res, err := strategicpatch.StrategicMergePatch(sb, patch, Thing{})
		if err != nil {
			c.Error = err.Error()
		} else {
			c.Result = res
		}
		all.Strategic = append(all.Strategic, c)
	}
	for i := 0; i < 1200; i++ {
		m := map[string]interface{}{}
		for _, n := range some(3, "a", "b", "c", "x/y") {
			m[n] = value(3)
		}
		t, _ := json.Marshal(m)
		var ops []map[string]interface{}
		for n := r.Intn(2); n >= 0; n-- {
			op := map[string]interface{}{"op": pick("add", "add", "remove", "replace", "test", "move", "copy"), "path": path()}
			if op["op"] == "move" || op["op"] == "copy" {
				op["from"] = path()
			} else if r.Intn(10) > 0 {
				op["value"] = value(1)
			}
			ops = append(ops, op)
		}
		p, _ := json.Marshal(ops)
		c := Case{Target: t, Patch: p}
		func() {
			defer func() {
				if e := recover(); e != nil {
					c.Error = "PANIC"
				}
			}()
			dp, err := jsonpatch.DecodePatch(p)
			if err != nil {
				c.Error = err.Error()
				return
			}
			res, err := dp.Apply(t)
			if err != nil {
				c.Error = err.Error()
			} else {
				c.Result = res
			}
		}()
		if c.Error != "PANIC" {
			all.Json = append(all.Json, c)
		}
	}
	for i := 0; i < 200; i++ {
		m, n := map[string]interface{}{"a": value(3), "b": value(3)}, map[string]interface{}{"a": value(3), "c": value(3)}
		t, _ := json.Marshal(m)
		p, _ := json.Marshal(n)
		res, err := jsonpatch.MergePatch(t, p)
		if err == nil {
			all.Merge = append(all.Merge, Case{Target: t, Patch: p, Result: res})
		}
	}
	all.Labels = []map[string]string{{}, {"a": "b"}, {"a": "", "c": "d"}, {"in": "x", "notin": "y"}, {"n": "5", "a/b": "q"}}
	words := []string{"a", "b", "c", "in", "notin", "=", "==", "!=", "!", ",", "(", ")", " ", " ", "<", ">", "5", "x", "n", "a/b", "-"}
	seen := map[string]bool{}
	add := func(s string) {
		if seen[s] {
			return
		}
		seen[s] = true
		q := Sel{Text: s, Matches: []bool{}}
		sel, err := labels.Parse(s)
		if err != nil {
			q.Error = err.Error()
		} else {
			q.Printed = sel.String()
			for _, l := range all.Labels {
				q.Matches = append(q.Matches, sel.Matches(labels.Set(l)))
			}
		}
		all.Selectors = append(all.Selectors, q)
	}
	for i := 0; i < 4000; i++ {
		s := ""
		for j := r.Intn(8); j >= 0; j-- {
			s += words[r.Intn(len(words))]
		}
		add(s)
	}
	for i := 0; i < 400; i++ {
		s := ""
		for j := r.Intn(3); j >= 0; j-- {
			k, v, w := pick("a", "b", "in", "n", "a/b"), pick("b", "", "x", "5", "in"), pick("d", "", "y")
			s += pick(k, "!"+k, k+"="+v, k+" == "+v, k+"!="+v, k+" in ("+v+","+w+")", k+" notin ("+v+")", k+">5", k+"<7", k+" in ()", k+" in (,"+w+")")
			if j > 0 {
				s += ","
			}
		}
		add(s)
	}
	e := json.NewEncoder(os.Stdout)
	e.SetEscapeHTML(false)
	e.Encode(all)
}
func mustMeta() strategicpatch.LookupPatchMeta {
	m, err := strategicpatch.NewPatchMetaFromStruct(Thing{})
	if err != nil {
		panic(err)
	}
	return m
}
