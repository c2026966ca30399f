// Command load asks a server for the same page again and again, from many clients at a time, each of which waits for its
// answer before it asks again. It prints a JSON object: requests answered a second, and latencies in ms.
package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

const order = `{"number":41,"when":"2024-05-06T07:08:09Z","items":[` +
	`{"id":1,"name":"pencil","price":1.25,"tags":["wood","yellow"],"stock":true},` +
	`{"id":2,"name":"ink \u00fc","price":12.5,"tags":["blue"],"stock":false},` +
	`{"id":3,"name":"paper, 500 sheets","price":4.75,"tags":["white","A4","80 g"],"stock":true},` +
	`{"id":4,"name":"ruler","price":0.99,"tags":[],"stock":true}]}`

// An asker sends a request and reads its answer.
type asker interface{ ask() error }

// A connection of HTTP/1.1 that is kept. It does as little as it can, since it shares the processors with the server.
type connection struct {
	request []byte
	conn    net.Conn
	reader  *bufio.Reader
}

func dial(target *url.URL, body string) (*connection, error) {
	conn, err := net.Dial("tcp", target.Host)
	if err != nil {
		return nil, err
	}
	if target.Scheme == "https" {
		conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}})
	}
	var request bytes.Buffer
	method := "GET"
	if body != "" {
		method = "POST"
	}
	fmt.Fprintf(&request, "%s %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: load\r\nAccept: */*\r\n", method, target.Path, target.Host)
	if body != "" {
		fmt.Fprintf(&request, "Content-Type: application/json\r\nContent-Length: %d\r\n", len(body))
	}
	request.WriteString("\r\n" + body)
	return &connection{request.Bytes(), conn, bufio.NewReaderSize(conn, 1<<16)}, nil
}

func (c *connection) ask() error {
	if _, err := c.conn.Write(c.request); err != nil {
		return err
	}
	length := -1
	for first := true; ; first = false {
		line, err := c.reader.ReadSlice('\n')
		if err != nil {
			return err
		}
		if first && !bytes.HasPrefix(line, []byte("HTTP/1.1 200")) {
			return fmt.Errorf("answer %q", line)
		}
		if len(line) <= 2 {
			break
		}
		if value, found := bytes.CutPrefix(line, []byte("Content-Length: ")); found {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
				return err
			}
		}
	}
	if length <= 0 {
		return fmt.Errorf("an answer without Content-Length, or empty")
	}
	_, err := c.reader.Discard(length)
	return err
}

// A stream after the other of a connection of HTTP/2 that all clients share.
type stream struct {
	client *http.Client
	url    string
	body   string
}

func (s *stream) ask() error {
	var response *http.Response
	var err error
	if s.body == "" {
		response, err = s.client.Get(s.url)
	} else {
		response, err = s.client.Post(s.url, "application/json", strings.NewReader(s.body))
	}
	if err != nil {
		return err
	}
	defer response.Body.Close()
	count, err := io.Copy(io.Discard, response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode != 200 || response.ProtoMajor != 2 || count == 0 {
		return fmt.Errorf("%s %s with %d bytes", response.Proto, response.Status, count)
	}
	return nil
}

func main() {
	log.SetFlags(0)
	clients := flag.Int("clients", 32, "how many ask at a time")
	warm := flag.Duration("warm", time.Second, "time before what is measured")
	duration := flag.Duration("time", 3*time.Second, "time that is measured")
	post := flag.Bool("json", false, "send an order in JSON with each request")
	h2 := flag.Bool("h2", false, "HTTP/2")
	flag.Parse()
	target, err := url.Parse(flag.Arg(0))
	if err != nil {
		log.Fatal(err)
	}
	body := ""
	if *post {
		body = order
	}
	shared := &http.Client{Transport: &http.Transport{
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true},
		ForceAttemptHTTP2: true,
	}}

	askers := make([]asker, *clients)
	for i := range askers {
		if *h2 {
			askers[i] = &stream{shared, flag.Arg(0), body}
		} else if askers[i], err = dial(target, body); err != nil {
			log.Fatal(err)
		}
	}
	// All have had an answer before the time begins, so that handshakes are no part of it.
	var ready sync.WaitGroup
	for _, each := range askers {
		ready.Go(func() {
			if err := each.ask(); err != nil {
				log.Fatal(err)
			}
		})
	}
	ready.Wait()

	begin := time.Now().Add(*warm)
	end := begin.Add(*duration)
	took := make([][]time.Duration, *clients)
	var all sync.WaitGroup
	for i, each := range askers {
		all.Go(func() {
			for {
				start := time.Now()
				if err := each.ask(); err != nil {
					log.Fatal(err)
				}
				now := time.Now()
				if now.After(end) {
					return
				}
				if now.After(begin) {
					took[i] = append(took[i], now.Sub(start))
				}
			}
		})
	}
	all.Wait()

	times := slices.Concat(took...)
	if len(times) == 0 {
		log.Fatal("no answer within the time")
	}
	slices.Sort(times)
	milliseconds := func(part float64) float64 {
		return times[min(len(times)-1, int(part*float64(len(times))))].Seconds() * 1000
	}
	json.NewEncoder(os.Stdout).Encode(map[string]float64{
		"rate": float64(len(times)) / duration.Seconds(),
		"p50":  milliseconds(0.5),
		"p99":  milliseconds(0.99),
	})
}
