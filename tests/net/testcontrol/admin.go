package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"tailscale.com/tailcfg"
)

const help = `NAME is a node's ID, the first label of its name, or * where that is said.
GET    /nodes              ID, name, addresses, key of all; whether they have a map stream
GET    /nodes/NAME         the node as its peers see it
PATCH  /nodes/NAME         merge a piece of tailcfg.Node (RFC 7396) into it, for its peers and itself
PUT    /nodes/NAME/routes  the list of prefixes becomes its subnet routes
GET    /maps/NAME          what a stream of the node would begin with
PATCH  /maps/NAME|*        merge a piece of tailcfg.MapResponse into what streams begin with, and send it
POST   /maps/NAME|*        send a tailcfg.MapResponse, once
POST   /drop/NAME|*        end the map stream; the node comes back
POST   /fakes              {"Count", "Name", "HomeDERP", "Offline", "Routes", "Quiet"}: nodes that do not exist
DELETE /fakes[?quiet=1]    all of them
POST   /patches/NAME|*     {"Rate", "Seconds"}: changes of those, one map response each; answers at the end:
                           Sent, Seconds, ProbesMs: time until a c2n request behind them was answered, and how
                           many are Unanswered a minute later
POST   /c2n/NAME/PATH      ask the node; answers with its answer
GET    /c2n/NAME/PATH      the same with GET
`

type failure struct {
	status int
	error
}

func bad(format string, args ...any) error { return failure{400, fmt.Errorf(format, args...)} }

// handle wraps what returns something to be sent as JSON.
func handle(fn func(r *http.Request, body []byte) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		var out any
		if err == nil {
			out, err = fn(r, body)
		}
		if err != nil {
			status := 500
			if f, ok := err.(failure); ok {
				status = f.status
			}
			log.Printf("%s %s: %v", r.Method, r.URL, err)
			http.Error(w, err.Error(), status)
			return
		}
		json.NewEncoder(w).Encode(out)
	}
}

func (c *control) admin() http.Handler {
	m := http.NewServeMux()
	m.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, help) })
	m.HandleFunc("GET /nodes", handle(c.listNodes))
	m.HandleFunc("GET /nodes/{name}", handle(c.getNode))
	m.HandleFunc("PATCH /nodes/{name}", handle(c.patchNode))
	m.HandleFunc("PUT /nodes/{name}/routes", handle(c.putRoutes))
	m.HandleFunc("GET /maps/{name}", handle(c.getMap))
	m.HandleFunc("PATCH /maps/{name}", handle(c.patchMap))
	m.HandleFunc("POST /maps/{name}", handle(c.sendMap))
	m.HandleFunc("POST /drop/{name}", handle(c.drop))
	m.HandleFunc("POST /fakes", handle(c.postFakes))
	m.HandleFunc("DELETE /fakes", handle(func(r *http.Request, _ []byte) (any, error) {
		return map[string]int{"Removed": c.removeFakes(r.FormValue("quiet") != "")}, nil
	}))
	m.HandleFunc("POST /patches/{name}", handle(c.patches))
	m.HandleFunc("POST /c2n/{name}/{path...}", c.serveC2N)
	m.HandleFunc("GET /c2n/{name}/{path...}", c.serveC2N)
	return m
}

type nodeLine struct {
	ID        tailcfg.NodeID
	Name      string
	Addresses []netip.Prefix
	Key       string
	Streaming bool
}

func (c *control) listNodes(*http.Request, []byte) (any, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := []nodeLine{}
	add := func(n *tailcfg.Node) {
		out = append(out, nodeLine{n.ID, n.Name, n.Addresses, n.Key.String(), c.streams[n.ID] != nil})
	}
	for _, n := range c.realNodes() {
		add(n)
	}
	for _, n := range c.fakes {
		add(n)
	}
	slices.SortFunc(out, func(a, b nodeLine) int { return int(a.ID - b.ID) })
	return out, nil
}

// named finds the node of the request's path. c.mu is held.
func (c *control) named(r *http.Request) (*tailcfg.Node, error) {
	n, err := c.find(r.PathValue("name"))
	if err != nil {
		return nil, failure{404, err}
	}
	return n, nil
}

// target is as named; * is everybody.
func (c *control) target(r *http.Request) (tailcfg.NodeID, error) {
	if r.PathValue("name") == "*" {
		return everybody, nil
	}
	n, err := c.named(r)
	if err != nil {
		return 0, err
	}
	return n.ID, nil
}

// send queues a message for one node or everybody; returns for how many. c.mu is held.
func (c *control) send(to tailcfg.NodeID, m *tailcfg.MapResponse) (sent int) {
	for id, s := range c.streams {
		if to == everybody || to == id {
			s.put(m)
			sent++
		}
	}
	return sent
}

func (c *control) getNode(r *http.Request, _ []byte) (any, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n, err := c.named(r)
	if err != nil {
		return nil, err
	}
	return c.show(n), nil
}

func (c *control) mergeNode(n *tailcfg.Node, patch any) (any, error) {
	merged := keep(c.nodes[n.ID], patch)
	if _, err := overlay(n, merged); err != nil {
		return nil, bad("no tailcfg.Node: %v", err)
	}
	c.nodes[n.ID] = merged
	c.announce(n)
	return c.show(n), nil
}

func (c *control) patchNode(r *http.Request, body []byte) (any, error) {
	var patch map[string]any
	if err := parse(body, &patch); err != nil {
		return nil, bad("no JSON object: %v", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	n, err := c.named(r)
	if err != nil {
		return nil, err
	}
	return c.mergeNode(n, patch)
}

func (c *control) putRoutes(r *http.Request, body []byte) (any, error) {
	var routes []netip.Prefix
	if err := parse(body, &routes); err != nil {
		return nil, bad("no list of prefixes: %v", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	n, err := c.named(r)
	if err != nil {
		return nil, err
	}
	text, _ := json.Marshal(map[string]any{
		"PrimaryRoutes": routes,
		"AllowedIPs":    append(slices.Clone(n.Addresses), routes...),
	})
	var patch any
	if err := parse(text, &patch); err != nil {
		return nil, err
	}
	return c.mergeNode(n, patch)
}

func (c *control) getMap(r *http.Request, _ []byte) (any, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n, err := c.named(r)
	if err != nil {
		return nil, err
	}
	return c.full(n), nil
}

func (c *control) patchMap(r *http.Request, body []byte) (any, error) {
	var patch map[string]any
	m := new(tailcfg.MapResponse)
	if err := parse(body, m); err != nil {
		return nil, bad("no tailcfg.MapResponse: %v", err)
	}
	if err := parse(body, &patch); err != nil {
		return nil, bad("%v", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	to, err := c.target(r)
	if err != nil {
		return nil, err
	}
	c.maps[to] = keep(c.maps[to], patch)
	return map[string]int{"Sent": c.send(to, m)}, nil
}

func (c *control) sendMap(r *http.Request, body []byte) (any, error) {
	m := new(tailcfg.MapResponse)
	if err := parse(body, m); err != nil {
		return nil, bad("no tailcfg.MapResponse: %v", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	to, err := c.target(r)
	if err != nil {
		return nil, err
	}
	return map[string]int{"Sent": c.send(to, m)}, nil
}

func (c *control) drop(r *http.Request, _ []byte) (any, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	to, err := c.target(r)
	if err != nil {
		return nil, err
	}
	for id, s := range c.streams {
		if to == everybody || to == id {
			s.cancel()
		}
	}
	return struct{}{}, nil
}

func (c *control) postFakes(_ *http.Request, body []byte) (any, error) {
	var req fakesRequest
	if err := parse(body, &req); err != nil {
		return nil, bad("%v", err)
	}
	first, last, err := c.addFakes(&req)
	if err != nil {
		return nil, bad("%v", err)
	}
	return map[string]tailcfg.NodeID{"First": first, "Last": last}, nil
}

// ask puts a c2n request into the node's stream, behind what is there; then gets its answer.
func (c *control) ask(to tailcfg.NodeID, method, path string, body []byte, then func(*http.Response)) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.streams[to]
	if s == nil {
		return failure{404, fmt.Errorf("the node has no map stream")}
	}
	var request bytes.Buffer
	req, err := http.NewRequest(method, "http://node/"+path, bytes.NewReader(body))
	if err == nil {
		err = req.Write(&request)
	}
	if err != nil {
		return err
	}
	c.probes++
	token := fmt.Sprintf("ask%d", c.probes)
	c.up.C2NResponses.Store(token, then)
	s.put(&tailcfg.MapResponse{PingRequest: &tailcfg.PingRequest{
		URL: "https://unused/c2n/" + token, Types: "c2n", Payload: request.Bytes(),
	}})
	return nil
}

func (c *control) serveC2N(w http.ResponseWriter, r *http.Request) {
	type answer struct {
		status int
		body   []byte
	}
	answers := make(chan answer, 1)
	body, _ := io.ReadAll(r.Body)
	c.mu.Lock()
	n, err := c.named(r)
	c.mu.Unlock()
	if err == nil {
		err = c.ask(n.ID, r.Method, r.PathValue("path"), body, func(res *http.Response) {
			text, _ := io.ReadAll(res.Body)
			answers <- answer{res.StatusCode, text}
		})
	}
	if err != nil {
		http.Error(w, err.Error(), 404)
		return
	}
	select {
	case a := <-answers:
		w.WriteHeader(a.status)
		w.Write(a.body)
	case <-time.After(30 * time.Second):
		http.Error(w, "no answer within 30 s", 504)
	}
}

type patchesResult struct {
	Sent       int
	Seconds    float64
	ProbesMs   []float64
	Unanswered int // probes, a minute after the last patch
}

// patches sends changes at a rate. The sender looks every millisecond how many are due.
func (c *control) patches(r *http.Request, body []byte) (any, error) {
	req := struct{ Rate, Seconds float64 }{1000, 10}
	if err := parse(body, &req); err != nil && err != io.EOF {
		return nil, bad("%v", err)
	}
	c.mu.Lock()
	to, err := c.target(r)
	var ids, probed []tailcfg.NodeID
	for id := range c.fakes {
		ids = append(ids, id)
	}
	for id := range c.streams {
		if to == everybody || to == id {
			probed = append(probed, id)
		}
	}
	c.mu.Unlock()
	if err != nil {
		return nil, err
	}
	if len(ids) == 0 || len(probed) == 0 || req.Rate <= 0 || req.Seconds <= 0 {
		return nil, bad("it needs fakes, a stream, a rate and a duration")
	}
	slices.Sort(ids)
	answered := make(chan float64, 1<<16)
	asked := 0
	out := patchesResult{ProbesMs: []float64{}}
	begin, total := time.Now(), int(req.Rate*req.Seconds)
	probe := func() {
		sent := time.Now()
		for _, id := range probed {
			if c.ask(id, "POST", "echo", []byte("x"), func(*http.Response) {
				answered <- float64(time.Since(sent).Microseconds()) / 1000
			}) == nil {
				asked++
			}
		}
	}
	for next := begin; out.Sent < total; time.Sleep(time.Millisecond) {
		due := min(total, int(time.Since(begin).Seconds()*req.Rate)+1)
		c.mu.Lock()
		for ; out.Sent < due; out.Sent++ {
			if id := ids[out.Sent%len(ids)]; c.fakes[id] != nil {
				p := c.change(id, out.Sent)
				c.send(to, &tailcfg.MapResponse{PeersChangedPatch: []*tailcfg.PeerChange{p}})
			}
		}
		c.mu.Unlock()
		if !time.Now().Before(next) {
			probe()
			next = next.Add(100 * time.Millisecond)
		}
	}
	probe() // behind the last one
	out.Seconds = time.Since(begin).Seconds()
	for timeout := time.After(60 * time.Second); asked > 0; asked-- {
		select {
		case ms := <-answered:
			out.ProbesMs = append(out.ProbesMs, ms)
		case <-timeout:
			out.Unanswered = asked
			return out, nil
		}
	}
	return out, nil
}
