// A default `go build` on a machine with a C compiler: users and names come from glibc, a server and its client talk TLS.
package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os/user"
	"slices"
	"sync"
)

func must[T any](value T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return value
}

func main() {
	log.SetFlags(0)
	root := must(user.Lookup("root"))
	fmt.Println(root.Uid, root.Gid, root.HomeDir, must(user.LookupGroup("root")).Gid)
	_, err := user.Lookup("nobody-of-this-name")
	fmt.Println(err)
	addresses := must(net.DefaultResolver.LookupHost(context.Background(), "localhost"))
	fmt.Println(slices.Contains(addresses, "127.0.0.1"), must(net.LookupPort("tcp", "https")))

	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body := must(io.ReadAll(r.Body))
		fmt.Fprintf(w, "%s %s %s %d", r.Proto, r.Method, r.URL.Path, len(bytes.ToUpper(body)))
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	_, port, _ := net.SplitHostPort(server.Listener.Addr().String())
	client := server.Client()
	client.Transport.(*http.Transport).TLSClientConfig.ServerName = "example.com"
	var all sync.WaitGroup
	told := make([]string, 100)
	for i := range told {
		all.Add(1)
		go func() {
			defer all.Done()
			url := fmt.Sprintf("https://localhost:%s/%d", port, i)
			response := must(client.Post(url, "text/plain", bytes.NewReader(make([]byte, 1000*i))))
			defer response.Body.Close()
			told[i] = string(must(io.ReadAll(response.Body)))
		}()
	}
	all.Wait()
	for _, line := range told {
		fmt.Println(line)
	}
	response := must(client.Get("https://localhost:" + port))
	response.Body.Close()
	fmt.Println(tls.VersionName(response.TLS.Version), response.TLS.NegotiatedProtocol)
}
