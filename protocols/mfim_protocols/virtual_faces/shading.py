"""Warp kernels: what a ray sees. Linear light throughout; all constants are `[own choice]`."""

# Warp compiles these functions; their annotations are Warp types, not Python's.
# mypy: ignore-errors
import warp as wp

# No gradients are wanted, and unrolled loops take minutes to compile.
wp.set_module_options({"enable_backward": False, "max_unroll": 1})

SKIN = wp.constant(0)
EYE = wp.constant(1)
MOUTH = wp.constant(2)
TONGUE = wp.constant(3)
TEETH = wp.constant(4)
LASH = wp.constant(5)
HAIR = wp.constant(6)
CLOTH = wp.constant(7)
PROP = wp.constant(8)


@wp.struct
class Look:
    size: int
    samples: int
    seed: int
    distance: float
    focal: float
    key: wp.vec3
    key_colour: wp.vec3
    softness: float
    sky: wp.vec3
    ground: wp.vec3
    rim: wp.vec3
    rim_direction: wp.vec3
    skin: wp.vec3
    melanin: float
    redness: float
    freckles: float
    stubble: float
    lip: float
    skin_seed: int
    iris: wp.vec3
    iris_size: float
    brow_colour: wp.vec3
    brow_thick: float
    brow_density: float
    gaze: wp.vec3
    eye_left: wp.vec3
    eye_right: wp.vec3
    eye_radius: float
    hair_colour: wp.vec3
    hair_seed: int
    curly: int
    cloth: wp.vec3
    cloth_pattern: int
    exposure: float


@wp.func
def step01(low: float, high: float, x: float) -> float:
    t = wp.clamp((x - low) / (high - low), 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


@wp.func
def grain(seed: int, p: wp.vec3) -> float:
    return wp.noise(wp.rand_init(seed), p)


@wp.kernel
def ambient(
    mesh: wp.uint64,
    points: wp.array(dtype=wp.vec3),
    normals: wp.array(dtype=wp.vec3),
    rays: int,
    reach: float,
    out: wp.array(dtype=float),
):
    i = wp.tid()
    state = wp.rand_init(7, i)
    seen = float(0.0)
    n = normals[i]
    for _ in range(rays):
        d = wp.normalize(n + wp.sample_unit_sphere_surface(state) * 0.999)
        q = wp.mesh_query_ray(mesh, points[i] + n * 0.4, d, reach)
        if not q.result:
            seen += 1.0
        else:
            seen += q.t / reach * 0.6
    out[i] = seen / float(rays)


@wp.func
def hair_alpha(look: Look, uv: wp.vec3) -> float:
    """1 where the shell is solid; at its edge it dissolves into strands."""
    strand = 0.5 + 0.5 * grain(look.hair_seed, wp.vec3(uv[0] * 260.0, uv[1] * 3.0, 0.5))
    return uv[2] * 1.5 + strand - 0.45


@wp.func
def lash_alpha(uv: wp.vec3) -> float:
    """Separate hairs, wide at the root and pointed at the tip."""
    wave = 0.5 + 0.5 * wp.sin((uv[0] + uv[2]) * 2.0 * 3.14159 * 24.0)
    return wave - 0.15 - 0.75 * uv[1]


@wp.func
def skin_colour(look: Look, c: wp.vec3, attributes: wp.vec4, brows: wp.array(dtype=wp.vec3)) -> wp.vec3:
    colour = look.skin
    blotch = grain(look.skin_seed, c * 0.045)
    fine = grain(look.skin_seed + 1, c * 0.55)
    colour = colour * (1.0 + 0.08 * blotch + 0.07 * fine)
    # Blood shows on cheeks, nose, ears and around the mouth.
    x = wp.abs(c[0])
    cheek = wp.exp(-((x - 40.0) * (x - 40.0) + (c[1] + 18.0) * (c[1] + 18.0)) / 700.0)
    nose = wp.exp(-(x * x + (c[1] + 20.0) * (c[1] + 20.0)) / 260.0)
    red = (0.10 + 0.30 * look.redness) * (cheek + 0.8 * nose + 0.25 * blotch) * (1.0 - 0.7 * look.melanin)
    colour = wp.cw_mul(colour, wp.vec3(1.0 - 0.05 * red, 1.0 - 0.75 * red, 1.0 - 0.65 * red))
    under_eye = wp.exp(-((x - 30.0) * (x - 30.0) / 260.0 + (c[1] - 7.0) * (c[1] - 7.0) / 60.0))
    colour = colour * (1.0 - 0.16 * under_eye)
    if look.freckles > 0.0:
        spots = step01(0.32, 0.55, grain(look.skin_seed + 2, c * 0.33)) * (cheek + nose + 0.3)
        colour = colour * (1.0 - 0.45 * wp.min(look.freckles, 1.0) * spots)
    mole = step01(0.62, 0.68, grain(look.skin_seed + 3, c * 0.09))
    colour = colour * (1.0 - 0.55 * mole)
    if look.stubble > 0.0:
        beard = step01(-26.0, -44.0, c[1]) * step01(-75.0, -40.0, c[2]) * step01(-112.0, -96.0, c[1])
        beard = beard * (1.0 - attributes[0]) * (0.6 + 0.6 * grain(look.skin_seed + 4, c * 1.1))
        colour = colour * (1.0 - 0.55 * wp.min(look.stubble, 1.0) * wp.clamp(beard, 0.0, 1.0))
    # Lips and lid margins.
    lip = attributes[0] * (1.0 + 0.15 * fine)
    tone = wp.vec3(0.92 - 0.12 * look.lip, 0.62 - 0.3 * look.lip, 0.62 - 0.24 * look.lip)
    colour = colour * (1.0 - lip) + wp.cw_mul(colour, tone) * lip
    colour = colour * (1.0 - 0.4 * attributes[1])
    # Brows: strands along a tapering polyline.
    if c[1] > 15.0 and c[1] < 65.0 and c[2] > -30.0:
        best = float(1.0e6)
        along = float(0.0)
        above = float(0.0)
        base = int(0)
        if c[0] > 0.0:
            base = 5
        for k in range(4):
            a = brows[base + k]
            b = brows[base + k + 1]
            ab = wp.vec2(b[0] - a[0], b[1] - a[1])
            ap = wp.vec2(c[0] - a[0], c[1] - a[1])
            t = wp.clamp(wp.dot(ap, ab) / wp.dot(ab, ab), 0.0, 1.0)
            d = ap - ab * t
            m = wp.length(d)
            if m < best:
                best = m
                along = (float(k) + t) / 4.0
                above = d[1]
        width = look.brow_thick * (0.75 + 0.6 * along - 1.25 * along * along)
        strand = grain(look.skin_seed + 5, wp.vec3(c[0] * 1.3 - above * 1.1, above * 0.35, 0.0))
        cover = step01(1.15, 0.55, best / wp.max(width, 0.3) + 0.35 * strand) * look.brow_density
        colour = colour * (1.0 - cover) + look.brow_colour * cover
    # Hair roots darken the scalp under the shell.
    cover = attributes[3]
    if cover > 0.0:
        root = grain(look.hair_seed + 1, c * 0.8)
        cover = step01(0.25, 0.75, cover + 0.18 * root)
        colour = colour * (1.0 - 0.9 * cover) + look.hair_colour * (0.9 * cover)
    return colour


@wp.func
def eye_colour(look: Look, c: wp.vec3) -> wp.vec3:
    centre = look.eye_left
    if c[0] > 0.0:
        centre = look.eye_right
    d = wp.normalize(c - centre)
    white = wp.vec3(0.72, 0.68, 0.64)
    vein = grain(11, d * 9.0)
    corner = 1.0 - d[2]
    colour = wp.cw_mul(white, wp.vec3(1.0, 1.0 - 0.25 * corner - 0.05 * vein, 1.0 - 0.3 * corner - 0.05 * vein))
    angle = wp.acos(wp.clamp(wp.dot(d, look.gaze), -1.0, 1.0)) * look.eye_radius
    if angle < look.iris_size + 0.5:
        r = angle / look.iris_size
        side = wp.cross(look.gaze, wp.vec3(0.0, 1.0, 0.0))
        up = wp.cross(side, look.gaze)
        around = wp.atan2(wp.dot(d, up), wp.dot(d, side))
        fibre = grain(look.skin_seed + 6, wp.vec3(around * 6.0, r * 2.0, 0.0))
        iris = look.iris * (0.85 + 0.5 * fibre + 0.35 * (1.0 - r))
        iris = iris * (1.0 - 0.75 * step01(0.78, 1.0, r))
        pupil = step01(0.42, 0.34, r)
        iris = iris * (1.0 - pupil) + wp.vec3(0.004, 0.004, 0.004) * pupil
        inside = step01(look.iris_size + 0.4, look.iris_size - 0.4, angle)
        colour = colour * (1.0 - inside) + iris * inside
    # The lids and lashes shade the upper part and the corners of the ball.
    return colour * (0.35 + 0.65 * step01(0.62, 0.98, d[2])) * (1.0 - 0.45 * step01(0.08, 0.42, d[1]))


@wp.kernel
def shade(
    mesh: wp.uint64,
    look: Look,
    normals: wp.array(dtype=wp.vec3),
    tangents: wp.array(dtype=wp.vec3),
    canon: wp.array(dtype=wp.vec3),
    attributes: wp.array(dtype=wp.vec4),
    region: wp.array(dtype=float),
    triangles: wp.array(dtype=wp.vec3i),
    material: wp.array(dtype=int),
    brows: wp.array(dtype=wp.vec3),
    behind: wp.array(dtype=wp.vec3),
    out: wp.array(dtype=wp.vec3),
    cover: wp.array(dtype=wp.vec4),
):
    pixel = wp.tid()
    row = pixel / look.size
    column = pixel - row * look.size
    state = wp.rand_init(look.seed, pixel)
    total = wp.vec3(0.0, 0.0, 0.0)
    covers = wp.vec4(0.0, 0.0, 0.0, 0.0)
    eye = wp.vec3(0.0, 0.0, look.distance)
    inverse = 1.0 / float(look.size)
    for si in range(look.samples):
        for sj in range(look.samples):
            jitter_x = (float(sj) + wp.randf(state)) / float(look.samples)
            jitter_y = (float(si) + wp.randf(state)) / float(look.samples)
            x = ((float(column) + jitter_x) * inverse - 0.5) / look.focal
            y = (0.5 - (float(row) + jitter_y) * inverse) / look.focal
            ray = wp.normalize(wp.vec3(x, y, -1.0))
            origin = eye
            colour = behind[pixel]
            done = int(0)
            for _ in range(6):
                if done == 0:
                    q = wp.mesh_query_ray(mesh, origin, ray, 1.0e6)
                    if not q.result:
                        done = 2
                    else:
                        ids = triangles[q.face]
                        a = ids[0]
                        b = ids[1]
                        d = ids[2]
                        u = q.u
                        v = q.v
                        w = 1.0 - u - v
                        c = canon[a] * u + canon[b] * v + canon[d] * w
                        kind = material[q.face]
                        point = origin + ray * q.t
                        keep = int(1)
                        if kind == HAIR:
                            if hair_alpha(look, c) < 0.5:
                                keep = 0
                        if kind == LASH:
                            if lash_alpha(c) < 0.0:
                                keep = 0
                        if keep == 0:
                            origin = point + ray * 0.05
                        else:
                            done = 1
                            n = wp.normalize(normals[a] * u + normals[b] * v + normals[d] * w)
                            if wp.dot(n, ray) > 0.0:
                                n = -n
                            attr = attributes[a] * u + attributes[b] * v + attributes[d] * w
                            part = region[a] * u + region[b] * v + region[d] * w
                            tangent = tangents[a] * u + tangents[b] * v + tangents[d] * w
                            albedo = wp.vec3(0.5, 0.5, 0.5)
                            gloss = float(0.0)
                            power = float(20.0)
                            wrap = wp.vec3(0.0, 0.0, 0.0)
                            open_sky = attr[2]
                            if kind == SKIN:
                                albedo = skin_colour(look, c, attr, brows)
                                wet = attr[0]
                                shine = 0.6 + 0.5 * grain(look.skin_seed + 7, c * 0.12)
                                gloss = 0.16 * shine * (1.0 - 0.8 * attr[3]) + 0.16 * wet
                                power = 14.0 + 26.0 * wet
                                wrap = wp.vec3(0.26, 0.12, 0.08)
                            if kind == EYE:
                                albedo = eye_colour(look, c)
                                gloss = 1.6
                                power = 350.0
                                open_sky = 0.8
                                wrap = wp.vec3(0.2, 0.2, 0.2)
                            if kind == MOUTH:
                                albedo = wp.vec3(0.16, 0.03, 0.03)
                                open_sky = attr[2] * 0.5
                            if kind == TONGUE:
                                albedo = wp.vec3(0.42, 0.13, 0.12) * (0.9 + 0.2 * grain(5, c * 0.8))
                                gloss = 0.15
                                open_sky = 0.35 * attr[2]
                            if kind == TEETH:
                                gap = wp.abs(wp.sin(c[0] * 3.14159 / 7.2))
                                albedo = wp.vec3(0.74, 0.69, 0.58) * (0.6 + 0.4 * step01(0.02, 0.18, gap))
                                gum = step01(0.55, 0.75, c[1] + 0.12 * gap)
                                albedo = albedo * (1.0 - gum) + wp.vec3(0.42, 0.14, 0.14) * gum
                                albedo = albedo * (1.0 - 0.55 * step01(8.0, 24.0, wp.abs(c[0])))
                                gloss = 0.25
                                power = 60.0
                                open_sky = 0.4
                            if kind == LASH:
                                albedo = wp.vec3(0.012, 0.01, 0.009)
                            if kind == HAIR:
                                strand = grain(look.hair_seed + 2, wp.vec3(c[0] * 420.0, c[1] * 6.0, 0.0))
                                lock = grain(look.hair_seed + 3, wp.vec3(c[0] * 60.0, c[1] * 2.0, 0.0))
                                if look.curly == 1:
                                    strand = grain(look.hair_seed + 2, point * 0.5)
                                    lock = grain(look.hair_seed + 3, point * 0.13)
                                albedo = look.hair_colour * wp.max(1.0 + 0.75 * strand + 0.5 * lock, 0.12)
                                wrap = wp.vec3(0.3, 0.3, 0.3)
                                open_sky = 0.75 + 0.35 * lock
                            if kind == CLOTH:
                                weave = 0.06 * grain(3, c * 2.0)
                                fold = grain(look.hair_seed + 5, wp.vec3(c[0] * 3.0, c[1] * 0.012, 0.0))
                                albedo = look.cloth * (1.0 + weave + 0.3 * fold)
                                if look.cloth_pattern == 1:
                                    albedo = albedo * (0.6 + 0.4 * step01(-0.2, 0.2, wp.sin(c[1] * 0.35)))
                                if look.cloth_pattern == 2:
                                    albedo = albedo * (0.7 + 0.3 * step01(-0.2, 0.2, wp.sin(c[0] * 30.0)))
                            if kind == PROP:
                                albedo = c * (1.0 + 0.12 * grain(13, point * 0.25))
                                gloss = attr[0]
                                power = 40.0
                                open_sky = 0.7
                                wrap = wp.vec3(0.15, 0.12, 0.1)
                            # Key light: one jittered ray to its disk; hair, skin and cloth block it, lashes hardly.
                            near = wp.normalize(look.key + wp.sample_unit_sphere_surface(state) * look.softness)
                            facing = wp.dot(n, look.key)
                            lit = float(0.0)
                            if facing > -0.3:
                                s = wp.mesh_query_ray(mesh, point + n * 0.6, near, 400.0)
                                lit = 1.0
                                if s.result:
                                    lit = 0.0
                                    if material[s.face] == LASH:
                                        lit = 0.7
                            direct = wp.vec3(
                                wp.max((facing + wrap[0]) / (1.0 + wrap[0]), 0.0),
                                wp.max((facing + wrap[1]) / (1.0 + wrap[1]), 0.0),
                                wp.max((facing + wrap[2]) / (1.0 + wrap[2]), 0.0),
                            )
                            # A little red light leaks into skin's shadows.
                            bleed = wp.vec3(lit, lit, lit)
                            if kind == SKIN:
                                bleed = wp.vec3(lit + (1.0 - lit) * 0.06, lit, lit)
                            sky = 0.5 + 0.5 * n[1]
                            around = (look.sky * sky + look.ground * (1.0 - sky)) * open_sky
                            rim = wp.max(wp.dot(n, look.rim_direction), 0.0) * open_sky
                            light = (
                                wp.cw_mul(wp.cw_mul(look.key_colour, direct), bleed) * 0.42 + around + look.rim * rim
                            )
                            colour = wp.cw_mul(albedo, light)
                            half_key = wp.normalize(look.key - ray)
                            if kind == HAIR:
                                if look.curly == 0:
                                    across = wp.dot(wp.normalize(tangent + n * 0.12), half_key)
                                    shine_hair = wp.pow(wp.max(1.0 - across * across, 0.0), 40.0) * wp.max(
                                        facing + 0.3, 0.0
                                    )
                                    colour = colour + wp.cw_mul(
                                        look.key_colour, look.hair_colour + wp.vec3(0.03, 0.03, 0.03)
                                    ) * (shine_hair * lit * 0.5)
                            else:
                                fresnel = 0.35 + 0.65 * wp.pow(1.0 + wp.dot(n, ray), 3.0)
                                shine_key = wp.pow(wp.max(wp.dot(n, half_key), 0.0), power) * gloss * lit * fresnel
                                colour = (
                                    colour
                                    + look.key_colour * shine_key
                                    + around * (wp.min(gloss, 0.3) * 0.12 * fresnel)
                                )
                            face = float(0.0)
                            if kind != HAIR and kind != CLOTH and kind != PROP:
                                face = step01(0.2, 0.6, part)
                                covers = covers + wp.vec4(face, 1.0, 0.0, 0.0)
                            if kind == HAIR or kind == PROP:  # noqa: SIM109
                                covers = covers + wp.vec4(0.0, 0.0, 1.0, 0.0)
            if done != 1:
                covers = covers + wp.vec4(0.0, 0.0, 0.0, 1.0)
            colour = colour * look.exposure
            # Soft shoulder, so that highlights roll off.
            colour = wp.vec3(
                1.0 - wp.exp(-1.35 * colour[0]), 1.0 - wp.exp(-1.35 * colour[1]), 1.0 - wp.exp(-1.35 * colour[2])
            )
            total = total + colour
    count = 1.0 / float(look.samples * look.samples)
    out[pixel] = total * count
    cover[pixel] = covers * count
