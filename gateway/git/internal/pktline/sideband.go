package pktline

import (
	"io"

	"github.com/remit-dev/remit"
)

// The bands of side-band-64k (gitprotocol-pack(5)).
const (
	BandData     = 1
	BandProgress = 2
	BandError    = 3
)

// AppendBand adds data on a band, in as many pkt-lines as it takes.
func AppendBand(dst []byte, band byte, data []byte) []byte {
	for len(data) > 0 {
		n := min(len(data), MaxData-1)
		dst = Append(dst, string(band)+string(data[:n]))
		data = data[n:]
	}
	return dst
}

// Demux reads band 1 of a stream; what comes on band 2 goes to Progress, if that is not nil. Band 3 is an error.
type Demux struct {
	In       *Reader
	Progress func([]byte)
	left     []byte
	ended    bool
}

// Read gives the bytes of band 1, and io.EOF at the flush packet.
func (d *Demux) Read(p []byte) (int, error) {
	for len(d.left) == 0 {
		if d.ended {
			return 0, io.EOF
		}
		if err := d.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p, d.left)
	d.left = d.left[n:]
	return n, nil
}

func (d *Demux) fill() error {
	kind, data, err := d.In.Next()
	switch {
	case err == io.EOF:
		return upstream(io.ErrUnexpectedEOF)
	case err != nil:
		return upstream(err)
	case kind == Flush || kind == ResponseEnd:
		d.ended = true
	case kind != Data || len(data) == 0:
		return remit.Errorf(remit.UpstreamDown, "the upstream sends a packet without a band")
	case data[0] == BandData:
		d.left = data[1:]
	case data[0] == BandProgress:
		if d.Progress != nil {
			d.Progress(data[1:])
		}
	case data[0] == BandError:
		return remit.Errorf(remit.UpstreamDown, "the upstream broke off: %.200q", data[1:])
	default:
		return remit.Errorf(remit.UpstreamDown, "the upstream sends on band %d; there are 1, 2 and 3", data[0])
	}
	return nil
}
