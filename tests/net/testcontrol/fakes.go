package main

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"time"

	"tailscale.com/tailcfg"
	"tailscale.com/types/key"
)

const (
	firstFake = 100000  // ID
	maxFakes  = 1 << 20 // addresses of 100.80.0.0/12
)

type fakesRequest struct {
	Count    int
	Name     string // many: many1.lab.test. and so on
	HomeDERP int
	Offline  bool
	Routes   bool // each a /24 of its own
	Quiet    bool // say nothing: known with the next stream
}

// fake makes the i-th one. Its addresses are spread over their range, as those are that the hosted
// server gives out.
func (c *control) fake(i int, r *fakesRequest) *tailcfg.Node {
	spread := uint32(i) * 0x9e375 % maxFakes // odd: each once
	v4 := netip.AddrFrom4([4]byte{100, 80 | byte(spread>>16), byte(spread >> 8), byte(spread)})
	v6 := netip.MustParseAddr("fd7a:115c:a1e0::").As16()
	copy(v6[12:], []byte{byte(spread), byte(spread >> 8), byte(spread >> 16), byte(i)})
	online := !r.Offline
	name := fmt.Sprintf("%s%d", r.Name, i)
	n := &tailcfg.Node{
		ID:                tailcfg.NodeID(firstFake + i),
		StableID:          tailcfg.StableNodeID(fmt.Sprintf("nFAKE%06dCNTRL", i)),
		Name:              name + "." + c.domain + ".",
		User:              123, // upstream's AllNodesSameUser
		Key:               key.NewNode().Public(),
		KeyExpiry:         time.Now().Add(180 * 24 * time.Hour).UTC().Truncate(time.Second),
		Machine:           key.NewMachine().Public(),
		DiscoKey:          key.NewDisco().Public(),
		Addresses:         []netip.Prefix{netip.PrefixFrom(v4, 32), netip.PrefixFrom(netip.AddrFrom16(v6), 128)},
		HomeDERP:          r.HomeDERP,
		Cap:               tailcfg.CurrentCapabilityVersion,
		Created:           time.Now().UTC().Truncate(time.Second),
		MachineAuthorized: true,
		Online:            &online,
		Hostinfo: (&tailcfg.Hostinfo{
			IPNVersion: "1.102.5", OS: "linux", Hostname: name,
			Services: []tailcfg.Service{{Proto: tailcfg.PeerAPI4, Port: 40000}, {Proto: tailcfg.PeerAPI6, Port: 40001}},
		}).View(),
	}
	n.AllowedIPs = append(n.AllowedIPs, n.Addresses...)
	if r.Routes {
		route := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 128 | byte(i>>8), byte(i), 0}), 24)
		n.AllowedIPs = append(n.AllowedIPs, route)
		n.PrimaryRoutes = []netip.Prefix{route}
	}
	n.Endpoints = fakeEndpoints()
	return n
}

// fakeEndpoints are of networks that lead nowhere (RFC 5737).
func fakeEndpoints() []netip.AddrPort {
	last, port := byte(rand.IntN(256)), uint16(1024+rand.IntN(60000))
	return []netip.AddrPort{
		netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, 100, last}), port),
		netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, last}), 41641),
	}
}

func (c *control) addFakes(r *fakesRequest) (first, last tailcfg.NodeID, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r.Count < 1 || c.added+r.Count >= maxFakes {
		return 0, 0, fmt.Errorf("Count is to be 1 to %d", maxFakes-1-c.added)
	}
	if r.Name == "" {
		r.Name = "many"
	}
	var list []*tailcfg.Node
	for range r.Count {
		c.added++
		n := c.fake(c.added, r)
		c.fakes[n.ID] = n
		list = append(list, n)
	}
	if !r.Quiet {
		c.tell(&tailcfg.MapResponse{PeersChanged: list}, 0)
	}
	return list[0].ID, list[len(list)-1].ID, nil
}

func (c *control) removeFakes(quiet bool) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	var ids []tailcfg.NodeID
	for id := range c.fakes {
		ids = append(ids, id)
		delete(c.nodes, id)
	}
	clear(c.fakes)
	if !quiet && len(ids) > 0 {
		c.tell(&tailcfg.MapResponse{PeersRemoved: ids}, 0)
	}
	return len(ids)
}

// change alters the fake that is the i-th in the list of IDs as life does: it roams to other
// endpoints, its home or its state changes. Returns the patch that says so. c.mu is held.
func (c *control) change(id tailcfg.NodeID, i int) *tailcfg.PeerChange {
	n := c.fakes[id].Clone()
	p := &tailcfg.PeerChange{NodeID: id}
	switch i % 3 {
	case 0:
		n.Endpoints = fakeEndpoints()
		p.Endpoints = n.Endpoints
	case 1:
		online := !*n.Online
		now := time.Now().UTC().Truncate(time.Second)
		n.Online, n.LastSeen = &online, &now
		p.Online, p.LastSeen = n.Online, n.LastSeen
	case 2:
		disco := key.NewDisco().Public()
		n.DiscoKey, p.DiscoKey = disco, &disco
	}
	c.fakes[id] = n
	return p
}
