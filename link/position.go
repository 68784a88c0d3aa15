package link

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// Position is a place on Earth, in degrees.
type Position struct{ Latitude, Longitude float64 }

// Valid says whether there is such a place.
func (p Position) Valid() bool {
	return p.Latitude >= -90 && p.Latitude <= 90 && p.Longitude >= -180 && p.Longitude <= 180
}

const (
	earthRadius = 6371.0088  // km; mean radius (IUGG)
	lightSpeed  = 299792.458 // km/s, in vacuum
)

// FibreSpeed is the speed of light in fibre, in units of that in vacuum.
const FibreSpeed = 2.0 / 3

// Distance is the length of the great circle between two places, in km.
func Distance(a, b Position) float64 {
	const degree = math.Pi / 180
	sinLat := math.Sin(float64((b.Latitude-a.Latitude)*degree) / 2)
	sinLon := math.Sin(float64((b.Longitude-a.Longitude)*degree) / 2)
	cosines := float64(math.Cos(float64(a.Latitude*degree)) * math.Cos(float64(b.Latitude*degree)))
	h := float64(sinLat*sinLat) + float64(cosines*float64(sinLon*sinLon))
	return float64(2 * earthRadius * math.Asin(math.Sqrt(min(1, max(0, h)))))
}

// Propagation is how long a signal takes for a distance in km, at a speed in
// units of that of light in vacuum (0: FibreSpeed), by a way that is stretch
// times as long (0: 1). It is a whole number of microseconds: 200 m of fibre,
// more than positions are exact to, and the same on any machine.
func Propagation(km, speed, stretch float64) time.Duration {
	if speed == 0 {
		speed = FibreSpeed
	}
	if stretch == 0 {
		stretch = 1
	}
	return time.Duration(math.Round(km*stretch/(lightSpeed*speed)*1e6)) * time.Microsecond
}

// Place is a line of a file of positions.
type Place struct {
	Nodes string // a node set
	Position
	Line int
}

// ParsePositions reads lines of the form nodes,latitude,longitude, in degrees;
// north and east are positive. There may be a heading, and comments after #.
func ParsePositions(name string, data []byte) ([]Place, error) {
	f := findings{file: name}
	var places []Place
	heading := true
	f.eachLine(data, func(line int, text string) bool {
		cut := func(s string) (string, string, bool) {
			for _, separator := range []string{"\t", ";", ","} {
				if i := strings.LastIndex(s, separator); i >= 0 {
					return strings.TrimSpace(s[:i]), strings.TrimSpace(s[i+1:]), true
				}
			}
			return s, "", false
		}
		rest, longitude, found := cut(text)
		nodes, latitude, also := cut(rest)
		lat, err1 := strconv.ParseFloat(latitude, 64)
		lon, err2 := strconv.ParseFloat(longitude, 64)
		p := Place{Nodes: strings.Trim(nodes, `"`), Position: Position{Latitude: lat, Longitude: lon}, Line: line}
		isHeading := heading && strings.HasPrefix(strings.ToLower(latitude), "lat")
		heading = false
		switch {
		case isHeading:
		case !found || !also || p.Nodes == "":
			f.at(line, 0, "write vnode,latitude,longitude, such as paris,48.85,2.35", "is not a position")
		case err1 != nil || err2 != nil:
			f.at(line, 0, "write degrees, such as 48.85,2.35", "%s, %s is not a position", quote(latitude), quote(longitude))
		case !p.Valid():
			f.at(line, 0, "latitude is from -90 to 90, longitude from -180 to 180", "there is no place at %s, %s", clip(latitude), clip(longitude))
		case len(places) == MaxMatrix:
			f.at(line, 0, "use groups of vnodes for more", "has more than %d positions", MaxMatrix)
			return false
		default:
			places = append(places, p)
		}
		return true
	})
	if f.count == 0 && len(places) == 0 {
		f.at(1, 0, "write vnode,latitude,longitude, such as paris,48.85,2.35", "is empty")
	}
	if err := f.err(); err != nil {
		return nil, err
	}
	return places, nil
}
