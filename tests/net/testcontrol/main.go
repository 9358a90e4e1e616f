// Command testcontrol is a coordination server for tests: tailscale's testcontrol, and an HTTP
// interface by which a script says what the nodes are told. GET / there has the list.
//
// Registration, keys and the Noise transport are upstream's. The map stream is ours (stream.go):
// upstream's sends everything anew whenever something changes.
package main

import (
	"encoding/json"
	"flag"
	"log"
	"net/http"
	"os"

	"tailscale.com/tailcfg"
	"tailscale.com/tstest/integration/testcontrol"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:8080", "address for nodes")
	admin := flag.String("admin", "127.0.0.1:9080", "address for scripts")
	url := flag.String("url", "http://127.0.0.1:8080", "as nodes call it")
	derp := flag.String("derpmap", "", "file with a tailcfg.DERPMap")
	key := flag.String("authkey", "", "that nodes have to show; empty: any or none")
	domain := flag.String("domain", "lab.test", "MagicDNS domain")
	flag.Parse()

	c := &control{
		up: &testcontrol.Server{
			ExplicitBaseURL:  *url,
			RequireAuthKey:   *key,
			MagicDNSDomain:   *domain,
			AllNodesSameUser: true,
		},
		domain:  *domain,
		fakes:   map[tailcfg.NodeID]*tailcfg.Node{},
		nodes:   map[tailcfg.NodeID]any{},
		streams: map[tailcfg.NodeID]*stream{},
		shown:   map[tailcfg.NodeID]string{},
		maps:    map[tailcfg.NodeID]any{},
		derp:    &tailcfg.DERPMap{},
	}
	if *derp != "" {
		text, err := os.ReadFile(*derp)
		if err == nil {
			err = json.Unmarshal(text, c.derp)
		}
		if err != nil {
			log.Fatalf("%s: %v", *derp, err)
		}
	}
	c.up.AltMapStream = c.serveMap
	go func() { log.Fatal(http.ListenAndServe(*admin, c.admin())) }()
	log.Fatal(http.ListenAndServe(*listen, c.up))
}
