package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"tailscale.com/tailcfg"
	"tailscale.com/tstest/integration/testcontrol"
)

const everybody tailcfg.NodeID = 0 // of control.maps

type control struct {
	up     *testcontrol.Server
	domain string

	mu      sync.Mutex
	derp    *tailcfg.DERPMap
	fakes   map[tailcfg.NodeID]*tailcfg.Node
	added   int                    // fakes ever
	nodes   map[tailcfg.NodeID]any // patches that are merged into a node wherever it is shown
	maps    map[tailcfg.NodeID]any // and into the first map response of a stream
	streams map[tailcfg.NodeID]*stream
	shown   map[tailcfg.NodeID]string // what peers know of a real node
	probes  int
}

// merge is RFC 7396: objects are merged, null takes a member away, all else replaces.
func merge(into, patch any) any {
	p, ok := patch.(map[string]any)
	if !ok {
		return patch
	}
	out := map[string]any{}
	if old, ok := into.(map[string]any); ok {
		out = maps.Clone(old)
	}
	for k, v := range p {
		if v == nil {
			delete(out, k)
		} else {
			out[k] = merge(out[k], v)
		}
	}
	return out
}

// keep adds a patch to one that is kept: here null stays, to take a member away later.
func keep(into, patch any) any {
	old, ok := into.(map[string]any)
	p, ok2 := patch.(map[string]any)
	if !ok || !ok2 {
		return patch
	}
	out := maps.Clone(old)
	for k, v := range p {
		out[k] = keep(out[k], v)
	}
	return out
}

func parse(text []byte, out any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber() // IDs have 63 bits
	d.DisallowUnknownFields()
	return d.Decode(out)
}

// overlay returns a copy of what with the patches merged in; an unknown member is an error.
func overlay[T any](what *T, patches ...any) (*T, error) {
	var tree any
	text, err := json.Marshal(what)
	if err == nil {
		err = parse(text, &tree)
	}
	if err != nil {
		return nil, err
	}
	for _, p := range patches {
		if p != nil {
			tree = merge(tree, p)
		}
	}
	if text, err = json.Marshal(tree); err != nil {
		return nil, err
	}
	out := new(T)
	return out, parse(text, out)
}

// realNodes returns those that have registered, each ID once: while a key is being changed
// upstream has a node twice.
func (c *control) realNodes() map[tailcfg.NodeID]*tailcfg.Node {
	out := map[tailcfg.NodeID]*tailcfg.Node{}
	for _, n := range c.up.AllNodes() {
		out[n.ID] = n
	}
	return out
}

// show returns a copy as others see it. c.mu is held.
func (c *control) show(n *tailcfg.Node) *tailcfg.Node {
	n = n.Clone()
	if c.fakes[n.ID] == nil {
		online := c.streams[n.ID] != nil
		n.Online = &online
	}
	if p := c.nodes[n.ID]; p != nil {
		if out, err := overlay(n, p); err == nil { // it was tried when it was set
			return out
		}
	}
	return n
}

// find returns the node with that ID, or whose name's first label it is. c.mu is held.
func (c *control) find(name string) (*tailcfg.Node, error) {
	id, _ := strconv.ParseInt(name, 10, 64)
	if n := c.fakes[tailcfg.NodeID(id)]; n != nil {
		return n, nil
	}
	for _, n := range c.realNodes() {
		if label, _, _ := strings.Cut(n.Name, "."); label == name || n.ID == tailcfg.NodeID(id) {
			return n, nil
		}
	}
	for _, n := range c.fakes {
		if label, _, _ := strings.Cut(n.Name, "."); label == name {
			return n, nil
		}
	}
	return nil, fmt.Errorf("no node %q", name)
}

func profile(id tailcfg.UserID) tailcfg.UserProfile {
	return tailcfg.UserProfile{ID: id, LoginName: "user@lab.test", DisplayName: "User"}
}

// full is the first message of a stream. c.mu is held.
func (c *control) full(n *tailcfg.Node) *tailcfg.MapResponse {
	now := time.Now().UTC()
	m := &tailcfg.MapResponse{
		Node:          c.show(n),
		DERPMap:       c.derp,
		Domain:        c.domain,
		PacketFilters: map[string][]tailcfg.FilterRule{"base": tailcfg.FilterAllowAll},
		UserProfiles:  []tailcfg.UserProfile{profile(n.User)},
		DNSConfig:     &tailcfg.DNSConfig{Domains: []string{c.domain}, Proxied: true},
		ControlTime:   &now,
	}
	for _, p := range c.realNodes() {
		if p.ID != n.ID {
			m.Peers = append(m.Peers, c.show(p))
		}
	}
	for _, p := range c.fakes {
		m.Peers = append(m.Peers, c.show(p))
	}
	slices.SortFunc(m.Peers, func(a, b *tailcfg.Node) int { return int(a.ID - b.ID) })
	if c.maps[everybody] == nil && c.maps[n.ID] == nil {
		return m // a large one takes its time
	}
	out, err := overlay(m, c.maps[everybody], c.maps[n.ID])
	if err != nil { // of patches that do not fit together
		log.Printf("map of %s: %v", n.Name, err)
		return m
	}
	return out
}

// tell queues a message for everybody but one. c.mu is held.
func (c *control) tell(m *tailcfg.MapResponse, except tailcfg.NodeID) {
	for id, s := range c.streams {
		if id != except {
			s.put(m)
		}
	}
}

// announce says what has become of a node to its peers, and to itself. c.mu is held.
func (c *control) announce(n *tailcfg.Node) {
	shown := c.show(n)
	text, _ := json.Marshal(shown)
	if c.shown[n.ID] == string(text) {
		return
	}
	c.shown[n.ID] = string(text)
	c.tell(&tailcfg.MapResponse{
		PeersChanged: []*tailcfg.Node{shown},
		UserProfiles: []tailcfg.UserProfile{profile(n.User)},
	}, n.ID)
	if s := c.streams[n.ID]; s != nil {
		s.put(&tailcfg.MapResponse{Node: shown})
	}
}

// update takes what a node says of itself by a request that is no stream.
func (c *control) update(req *tailcfg.MapRequest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.up.Node(req.NodeKey)
	if n == nil || req.ReadOnly {
		return
	}
	n.Endpoints = slices.DeleteFunc(req.Endpoints, func(e netip.AddrPort) bool {
		return e.Addr().Zone() != "" || e.Addr().IsLinkLocalUnicast()
	})
	n.DiscoKey = req.DiscoKey
	n.Cap = req.Version
	if req.Hostinfo != nil {
		n.Hostinfo = req.Hostinfo.View()
		if ni := req.Hostinfo.NetInfo; ni != nil && ni.PreferredDERP != 0 {
			n.HomeDERP = ni.PreferredDERP
		}
	}
	c.up.UpdateNode(n)
	c.announce(n)
}
