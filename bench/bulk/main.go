// Command bulk measures storing and fetching one large file with a local node, both programs as users run them, beside
// the physical limits in the same run: what one core can encrypt with AES-256-GCM and what the disk can take with the
// final fsync. It also prints the greatest memory of either program.
//
//	go run ./bench/bulk [-size 1073741824] [-rounds 3]
package main

import (
	"bufio"
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

var (
	size   = flag.Int64("size", 1<<30, "bytes of the file")
	rounds = flag.Int("rounds", 3, "rounds; the median is printed")
)

func main() {
	flag.Parse()
	if err := measure(); err != nil {
		fmt.Fprintln(os.Stderr, "bulk:", err)
		os.Exit(1)
	}
}

func measure() (err error) {
	dir, err := os.MkdirTemp("", "coffer-bulk-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	for _, name := range []string{"coffer", "cofferd"} {
		if out, err := exec.Command("go", "build", "-o", filepath.Join(dir, name), "./cmd/"+name).CombinedOutput(); err != nil {
			return fmt.Errorf("build: %w\n%s", err, out)
		}
	}
	node := exec.Command(filepath.Join(dir, "cofferd"), "--listen", "127.0.0.1:0", "--data", filepath.Join(dir, "node"))
	node.Stderr = os.Stderr
	out, err := node.StdoutPipe()
	if err != nil {
		return err
	}
	if err := node.Start(); err != nil {
		return err
	}
	defer func() {
		node.Process.Kill()
		node.Wait()
	}()
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return err
	}
	origin := strings.TrimSpace(strings.TrimPrefix(line, "listening on "))
	source := filepath.Join(dir, "source")
	if _, err := writeFile(source); err != nil {
		return err
	}

	c := &client{dir: dir}
	if err := c.run("init", "--node", origin); err != nil {
		return err
	}
	var puts, gets, seals, disks []float64
	for i := range *rounds {
		seals = append(seals, sealSpeed())
		// A new file each time, as what is measured writes new ones: pages given back just before would be faster.
		speed, err := writeFile(filepath.Join(dir, fmt.Sprintf("limit-%d", i)))
		if err != nil {
			return err
		}
		disks = append(disks, speed)
		name := fmt.Sprintf("file-%d", i)
		put, err := c.timed("put", source, name)
		if err != nil {
			return err
		}
		puts = append(puts, put)
		target := filepath.Join(dir, fmt.Sprintf("target-%d", i))
		get, err := c.timed("get", name, target)
		if err != nil {
			return err
		}
		gets = append(gets, get)
		if err := same(source, target); err != nil {
			return err
		}
		syscall.Sync() // the next round shall not pay for this one
	}
	limit := min(median(seals), median(disks))
	fmt.Printf("AES-256-GCM, one core  %7.0f MB/s\n", median(seals))
	fmt.Printf("disk, final fsync      %7.0f MB/s\n", median(disks))
	fmt.Printf("coffer put             %7.0f MB/s   %.2f of the lower limit\n", median(puts), median(puts)/limit)
	fmt.Printf("coffer get             %7.0f MB/s   %.2f of the lower limit\n", median(gets), median(gets)/limit)
	fmt.Printf("each round, MB/s: disk %.0f, put %.0f, get %.0f\n", disks, puts, gets)
	fmt.Printf("memory: coffer %d MiB, cofferd %d MiB\n", c.memory>>10, nodeMemory(node.Process.Pid)>>10)
	return nil
}

// A client runs coffer.
type client struct {
	dir    string
	memory int64 // greatest resident set, KiB
}

func (c *client) run(args ...string) error {
	cmd := exec.Command(filepath.Join(c.dir, "coffer"), args...)
	home := filepath.Join(c.dir, "home")
	cmd.Env = append(os.Environ(), "HOME="+home, "COFFER_PASSPHRASE=measured", "XDG_CONFIG_HOME="+home+"/config",
		"XDG_DATA_HOME="+home+"/data", "XDG_STATE_HOME="+home+"/state", "XDG_CACHE_HOME="+home+"/cache")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("coffer %s: %w\n%s", args[0], err, stderr.String())
	}
	if usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		c.memory = max(c.memory, usage.Maxrss)
	}
	return nil
}

// timed runs coffer and returns MB/s.
func (c *client) timed(args ...string) (float64, error) {
	begin := time.Now()
	err := c.run(args...)
	return perSecond(time.Since(begin)), err
}

func perSecond(took time.Duration) float64 { return float64(*size) / 1e6 / took.Seconds() }

// writeFile writes a file of random-looking bytes with a final fsync and returns MB/s.
func writeFile(path string) (float64, error) {
	block := make([]byte, 1<<20)
	rand.Read(block)
	f, err := os.Create(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	begin := time.Now()
	for n := int64(0); n < *size; n += int64(len(block)) {
		block[0]++
		if _, err := f.Write(block[:min(int64(len(block)), *size-n)]); err != nil {
			return 0, err
		}
	}
	if err := f.Sync(); err != nil {
		return 0, err
	}
	return perSecond(time.Since(begin)), nil
}

func sealSpeed() float64 {
	block, _ := aes.NewCipher(make([]byte, 32))
	aead, _ := cipher.NewGCM(block)
	plain, out, nonce := make([]byte, 1<<20), make([]byte, 0, 1<<20+16), make([]byte, 12)
	begin := time.Now()
	for n := int64(0); n < *size; n += int64(len(plain)) {
		out = aead.Seal(out[:0], nonce, plain, nil)
	}
	return perSecond(time.Since(begin))
}

func same(a, b string) error {
	fa, err := os.Open(a)
	if err != nil {
		return err
	}
	defer fa.Close()
	fb, err := os.Open(b)
	if err != nil {
		return err
	}
	defer fb.Close()
	bufA, bufB := make([]byte, 1<<20), make([]byte, 1<<20)
	for {
		n, errA := io.ReadFull(fa, bufA)
		m, errB := io.ReadFull(fb, bufB)
		if n != m || !bytes.Equal(bufA[:n], bufB[:m]) {
			return errors.New("what came back is not what was stored")
		}
		if errA != nil || errB != nil {
			return nil
		}
	}
}

func nodeMemory(pid int) int64 {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for line := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			var kib int64
			fmt.Sscan(v, &kib)
			return kib
		}
	}
	return 0
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return v[len(v)/2]
}
