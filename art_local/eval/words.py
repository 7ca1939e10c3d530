"""Plain words for made-up prose, keys and lists: no corpus, so that a task can be made anywhere."""

NOUNS = (
    "anchor apple arrow barrel basket beacon bell blanket bottle bridge bucket button cabin candle canyon castle chimney circle clock "
    "cloud compass copper corner cottage crystal desert diamond dragon drum eagle ember engine falcon feather fence field flame flute "
    "forest fountain garden gate glacier hammer harbor helmet hill horizon island ivory jacket journey kettle kitten ladder lake lantern "
    "leaf lemon letter lion magnet maple market meadow mirror moon mountain needle oak ocean orchard otter paper path pebble pencil piano "
    "pillow planet pocket pond prairie rabbit raven ribbon river road rocket rose saddle sail shadow shell silver slope spark spoon spring "
    "statue stone storm stream summer table temple thunder tiger timber tower trail tunnel valley velvet village violin wagon walnut water "
    "whale wheel willow window winter wolf wool"
).split()

ADJECTIVES = (
    "amber ancient bitter bold brave bright broken calm careful clever cold crimson curious dark deep distant eager early empty fair "
    "faint fancy fast fierce fresh gentle giant golden grand green hollow humble icy jolly keen large late light little lonely long lucky "
    "merry mild modest narrow noble old orange pale plain proud purple quick quiet rapid red rough round royal rusty salty scarlet secret "
    "sharp shy silent simple sleepy slow small smooth soft solid sour steady steep strange strong sunny sweet swift tall tame thin tiny "
    "tough vast warm white wide wild wise young"
).split()

VERBS = "carried found watched painted followed left passed crossed kept built hid sold mended lifted missed liked".split()

SYLLABLES = (
    "ba be bi bo da de di do fa fe fi fo ga ge go ka ke ki ko la le li lo ma me mi mo na ne ni no pa pe po ra re ri ro sa se so ta te to "
    "va ve vo za ze zo"
).split()

NAMES = (
    "Alder Benna Corin Delia Edran Farah Galen Hesper Ilian Jorun Kalla Lorne Mirea Nolan Oriel Perrin Quilla Roane Selka Tamsin Ulric "
    "Venna Wendel Yara Zoltan"
).split()

PLACES = (
    "Ashford Brenmoor Calder Dunhollow Eastmere Fenwick Greyport Holloway Inverlea Kingsbarrow Larkspur Millbrook Northgate Oakhaven "
    "Pinecrest Ravenhill Saltmarsh Thornbury Underhill Westbrook"
).split()

TRADES = (
    "baker carpenter clockmaker doctor farmer fisher gardener glassblower judge librarian mason miller painter pilot potter printer "
    "sailor tailor teacher weaver"
).split()
