package main

import (
	"context"
	"sync"
	"time"

	"tailscale.com/tailcfg"
	"tailscale.com/tstest/integration/testcontrol"
)

const keepAlive = 50 * time.Second

// stream is one node's map stream: what is to be sent to it.
type stream struct {
	mu     sync.Mutex
	queue  []*tailcfg.MapResponse
	wake   chan struct{} // of one place
	cancel context.CancelFunc
}

func (s *stream) put(m *tailcfg.MapResponse) {
	s.mu.Lock()
	s.queue = append(s.queue, m)
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default: // it is awake already
	}
}

func (s *stream) take() (all []*tailcfg.MapResponse) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all, s.queue = s.queue, nil
	return all
}

// serveMap is a testcontrol.AltMapStreamFunc.
func (c *control) serveMap(ctx context.Context, w testcontrol.MapStreamWriter, req *tailcfg.MapRequest) {
	if !req.Stream {
		c.update(req)
		w.SendMapMessage(&tailcfg.MapResponse{})
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s := &stream{wake: make(chan struct{}, 1), cancel: cancel}
	if !c.open(req, s) {
		return
	}
	defer c.close(req, s)
	for {
		for _, m := range s.take() {
			if ctx.Err() != nil || w.SendMapMessage(m) != nil {
				return
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-s.wake:
		case <-time.After(keepAlive):
			s.put(&tailcfg.MapResponse{KeepAlive: true})
		}
	}
}

func (c *control) open(req *tailcfg.MapRequest, s *stream) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.up.Node(req.NodeKey)
	if n == nil {
		return false
	}
	if before := c.streams[n.ID]; before != nil {
		before.cancel()
	}
	c.streams[n.ID] = s
	s.put(c.full(n))
	c.announce(n)
	return true
}

func (c *control) close(req *tailcfg.MapRequest, s *stream) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.up.Node(req.NodeKey)
	if n == nil || c.streams[n.ID] != s {
		return
	}
	delete(c.streams, n.ID)
	c.announce(n)
}
