"""The words of the clinic's small world, each with its English and its Arabic spelling.

Every name is paired one to one, so that translation can be learnt, and is one token in
`tokenizer.py`, so that copying it is one step. Read `relations.py` next.
"""

from __future__ import annotations

import random
from typing import Literal

Lang = Literal["en", "ar"]
LANGS: tuple[Lang, Lang] = ("en", "ar")


def _pairs(text: str) -> list[tuple[str, str]]:
    """Reads `English=Arabic` items separated by commas."""
    pairs = []
    for item in text.replace("\n", " ").split(","):
        if item.strip():
            en, ar = item.strip().split("=")
            pairs.append((en.strip(), ar.strip()))
    return pairs


FIRST_NAMES = _pairs("""
Layla=ليلى, Omar=عمر, Fatima=فاطمة, Khalid=خالد, Mariam=مريم, Yusuf=يوسف, Huda=هدى, Salim=سالم,
Noura=نورة, Tariq=طارق, Amina=أمينة, Hassan=حسن, Rania=رانيا, Ziad=زياد, Salma=سلمى, Karim=كريم,
Dina=دينا, Samir=سمير, Hanan=حنان, Walid=وليد, Lina=لينا, Faisal=فيصل, Mona=منى, Nabil=نبيل, Sara=سارة,
Majid=ماجد, Yasmin=ياسمين, Adel=عادل, Nadia=نادية, Bilal=بلال, Iman=إيمان, Rashid=راشد, Zainab=زينب,
Jamal=جمال, Abeer=عبير, Anwar=أنور, Suad=سعاد, Marwan=مروان, Wafa=وفاء, Ibrahim=إبراهيم, Ruba=ربى,
Mustafa=مصطفى, Ghada=غادة, Ismail=إسماعيل, Maha=مها, Idris=إدريس, Rima=ريما, Ayman=أيمن, Lubna=لبنى,
Fadi=فادي, Sana=سناء, Munir=منير, Hiba=هبة, Jawad=جواد, Arwa=أروى, Nizar=نزار, Basma=بسمة, Qasim=قاسم,
Dalal=دلال, Rami=رامي, Inas=إيناس, Saeed=سعيد, Joud=جود, Talal=طلال, Kawthar=كوثر, Usama=أسامة,
Lamis=لميس, Wael=وائل, Manal=منال, Yahya=يحيى, Najwa=نجوى, Zakaria=زكريا, Randa=رندة, Amjad=أمجد,
Shireen=شيرين, Bassam=بسام, Tala=تالا, Daoud=داود, Widad=وداد, Emad=عماد, Zahra=زهرة, Fahd=فهد,
Asma=أسماء, Ghassan=غسان, Bushra=بشرى, Hatem=حاتم, Duaa=دعاء, Imran=عمران, Farah=فرح, Jaber=جابر,
Hind=هند, Luay=لؤي, Jumana=جمانة, Mazen=مازن, Kholoud=خلود, Nasser=ناصر, Lama=لمى, Qais=قيس,
Mayada=ميادة, Sami=سامي, Nahla=نهلة, Tamer=تامر, Reem=ريم, Wissam=وسام, Anna=آنا, David=ديفيد,
Maria=ماريا, Peter=بيتر, Elena=إيلينا, Marco=ماركو, Julia=جوليا, Lucas=لوكاس, Sofia=صوفيا, Victor=فيكتور,
Emma=إيما, Daniel=دانيال, Clara=كلارا, Martin=مارتن, Helen=هيلين, Simon=سيمون, Irene=إيرين, Oscar=أوسكار,
Laura=لورا, Henry=هنري, Nina=نينا, Felix=فيليكس, Olga=أولغا, Bruno=برونو, Diana=ديانا, Robert=روبرت,
Monica=مونيكا, Albert=ألبرت, Teresa=تيريزا, Edward=إدوارد, Vera=فيرا, Leon=ليون, Priya=بريا, Arjun=أرجون,
Mei=مي, Kenji=كنجي, Amara=أمارا, Kofi=كوفي, Ayse=عائشة, Emre=إمري
""")

SURNAMES = _pairs("""
Haddad=حداد, Najjar=نجار, Khoury=خوري, Mansour=منصور, Saleh=صالح, Qasimi=القاسمي, Hamdan=حمدان,
Darwish=درويش, Shami=الشامي, Masri=المصري, Hijazi=حجازي, Ansari=الأنصاري, Bakri=البكري, Farsi=الفارسي,
Ghanem=غانم, Habib=حبيب, Jabri=الجابري, Kanaan=كنعان, Lahham=لحام, Malki=المالكي, Nasr=نصر, Obeid=عبيد,
Qadri=القادري, Rifai=الرفاعي, Sabbagh=صباغ, Tamimi=التميمي, Umari=العمري, Wahbi=وهبي, Yaziji=اليازجي,
Zaki=زكي, Attar=عطار, Badawi=بدوي, Dajani=الدجاني, Fakhri=فخري, Halabi=الحلبي, Issa=عيسى, Jundi=الجندي,
Khatib=الخطيب, Lutfi=لطفي, Murad=مراد, Nahhas=نحاس, Othman=عثمان, Qabbani=قباني, Rahhal=رحال,
Sayegh=صايغ, Turki=تركي, Wazir=الوزير, Yamani=اليماني, Zoubi=الزعبي, Ashqar=الأشقر, Bitar=بيطار,
Daher=ضاهر, Farhat=فرحات, Hakim=حكيم, Jaziri=الجزيري, Karam=كرم, Labib=لبيب, Maalouf=معلوف, Naim=نعيم,
Rizk=رزق, Safadi=الصفدي, Tahan=طحان, Younis=يونس, Zayed=زايد, Amiri=العامري, Barakat=بركات, Dabbas=دباس,
Fayyad=فياض, Harbi=الحربي, Jarrar=جرار, Kilani=الكيلاني, Mahdi=مهدي, Nuaimi=النعيمي, Otaibi=العتيبي,
Qureshi=القرشي, Razzaq=رزاق, Shehadi=شحادة, Tawil=الطويل, Wardi=الوردي, Zein=زين, Garcia=غارسيا,
Novak=نوفاك, Rossi=روسي, Silva=سيلفا, Weber=فيبر, Meyer=ماير, Brown=براون, Clark=كلارك, Lopez=لوبيز,
Keller=كيلر, Moreno=مورينو, Fischer=فيشر, Wilson=ويلسون, Parker=باركر, Costa=كوستا, Ivanov=إيفانوف,
Nowak=نوواك, Larsen=لارسن, Dubois=دوبوا, Bianchi=بيانكي, Santos=سانتوس, Schmidt=شميت, Turner=تيرنر,
Walker=ووكر, Patel=باتيل, Sharma=شارما, Tanaka=تاناكا, Mensah=منساه, Demir=ديمير, Yilmaz=يلماز, Chen=تشن,
Park=بارك
""")

PLACES = _pairs("""
Cedar=الأرز, Olive=الزيتون, Jasmine=الياسمين, Palm=النخيل, Rose=الورد, Pearl=اللؤلؤ, River=النهر,
Star=النجمة, Moon=القمر, Garden=الحديقة, Harbour=الميناء, Valley=الوادي, Mountain=الجبل, Falcon=الصقر,
Coral=المرجان, Amber=الكهرمان, Lotus=اللوتس, Meadow=المرج, Spring=الربيع, Sunrise=الشروق,
Lighthouse=المنارة, Bridge=الجسر, Castle=القلعة, Forest=الغابة, Lake=البحيرة, Island=الجزيرة,
Desert=الصحراء, Rainbow=القوس, Dove=الحمامة, Gazelle=الغزال, Almond=اللوز, Orange=البرتقال,
Lemon=الليمون, Pomegranate=الرمان, Saffron=الزعفران, Mint=النعناع, Crystal=البلور, Silk=الحرير,
Anchor=المرساة, Compass=البوصلة, Damascus=دمشق, Beirut=بيروت, Amman=عمان, Cairo=القاهرة, Tunis=تونس,
Baghdad=بغداد, Muscat=مسقط, Doha=الدوحة, Riyadh=الرياض, Jeddah=جدة, Aleppo=حلب, Basra=البصرة, Fez=فاس,
Oran=وهران, Tripoli=طرابلس, Sanaa=صنعاء, Nablus=نابلس, Jaffa=يافا, Petra=البتراء, Luxor=الأقصر,
Aqaba=العقبة, Sidon=صيدا, Mosul=الموصل, Salalah=صلالة, Paris=باريس, London=لندن, Madrid=مدريد, Rome=روما,
Vienna=فيينا, Berlin=برلين, Lisbon=لشبونة, Athens=أثينا, Tokyo=طوكيو, Delhi=دلهي, Lima=ليما,
Nairobi=نيروبي, Dakar=داكار, Oslo=أوسلو, Prague=براغ, Geneva=جنيف
""")

# What the fictional units are: English noun, Arabic noun, whether the Arabic noun is feminine.
KINDS: list[tuple[str, str, bool]] = [
    ("clinic", "عيادة", True),
    ("ward", "جناح", False),
    ("lab", "مختبر", False),
    ("pharmacy", "صيدلية", True),
    ("desk", "مكتب", False),
    ("hall", "قاعة", True),
    ("unit", "وحدة", True),
    ("centre", "مركز", False),
    ("library", "مكتبة", True),
    ("cafe", "مقهى", False),
    ("package", "باقة", True),
    ("programme", "برنامج", False),
    ("gate", "بوابة", True),
    ("shop", "متجر", False),
    ("school", "مدرسة", True),
    ("club", "نادي", False),
    ("museum", "متحف", False),
    ("theatre", "مسرح", False),
    ("kitchen", "مطبخ", False),
    ("workshop", "ورشة", True),
]

DAYS = _pairs(
    "Sunday=الأحد, Monday=الاثنين, Tuesday=الثلاثاء, Wednesday=الأربعاء, Thursday=الخميس, Friday=الجمعة, Saturday=السبت"
)
COLOURS = _pairs("""
red=أحمر, blue=أزرق, green=أخضر, yellow=أصفر, white=أبيض, black=أسود, silver=فضي, violet=بنفسجي,
brown=بني, pink=وردي, grey=رمادي, gold=ذهبي
""")
ITEMS = _pairs("""
passport=جواز, towel=منشفة, notebook=دفتر, umbrella=مظلة, blanket=بطانية, helmet=خوذة, mirror=مرآة,
ticket=تذكرة, photo=صورة, key=مفتاح, bottle=زجاجة, lamp=مصباح, pillow=وسادة, badge=شارة, receipt=إيصال,
map=خريطة, camera=كاميرا, basket=سلة, book=كتاب, spoon=ملعقة, jacket=سترة, card=بطاقة, pencil=قلم,
cup=كوب, hat=قبعة, watch=ساعة, letter=رسالة, bag=حقيبة, ring=خاتم, phone=هاتف
""")
LANGUAGES = _pairs("""
French=الفرنسية, Turkish=التركية, Spanish=الإسبانية, German=الألمانية, Italian=الإيطالية, Urdu=الأردية,
Hindi=الهندية, Persian=الفارسية, Russian=الروسية, Greek=اليونانية
""")

# The clinic of the handbook and of the three tasks. Its units are reserved: `corpus.py` never draws them.
HOUSE = ("Noor Clinic", "عيادة نور")
RESERVED_PLACES = _pairs("""
Cedar=الأرز, Pearl=اللؤلؤ, Falcon=الصقر, Saffron=الزعفران, Lotus=اللوتس, Almond=اللوز, Coral=المرجان,
Gazelle=الغزال
""")
RESERVED_KINDS = ("clinic", "ward", "lab", "pharmacy", "desk", "unit", "package", "programme", "gate", "cafe")

# Words that are copied from a context into an answer: one token each, see tokenizer.py.
COPYABLE = [word for pair in (FIRST_NAMES + SURNAMES + PLACES + DAYS + COLOURS + ITEMS + LANGUAGES) for word in pair]

# Also one token each: passages' ids, and signs written two to four times over.
PASSAGE_IDS = [f"{letter}{number:02d}" for letter in "hkmp" for number in range(1, 100)]
SIGNS = "<>[](){}|/#*-=:;!~.+&@%_^"
MARK_RUNS = [sign * times for sign in SIGNS for times in (2, 3, 4)]


class Entity:
    """A unit of a fictional institution, such as "the Cedar ward"; the same in both languages."""

    def __init__(self, place: tuple[str, str], kind: tuple[str, str, bool]) -> None:
        self.place = place
        self.kind = kind
        self.feminine = kind[2]

    def name(self, lang: Lang) -> str:
        return f"the {self.place[0]} {self.kind[0]}" if lang == "en" else f"{self.kind[1]} {self.place[1]}"

    @property
    def reserved(self) -> bool:
        return self.place in RESERVED_PLACES and self.kind[0] in RESERVED_KINDS

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Entity) and (self.place, self.kind) == (other.place, other.kind)

    def __hash__(self) -> int:
        return hash((self.place, self.kind))


RESERVED_NAMES = [
    name
    for place in RESERVED_PLACES
    for kind in KINDS
    if kind[0] in RESERVED_KINDS
    for name in (f"{place[0]} {kind[0]}", f"{kind[1]} {place[1]}")
]


def person(rng: random.Random) -> tuple[str, str]:
    """A full name in both languages."""
    first, last = rng.choice(FIRST_NAMES), rng.choice(SURNAMES)
    return f"{first[0]} {last[0]}", f"{first[1]} {last[1]}"


def entity(rng: random.Random) -> Entity:
    """A unit that does not belong to the clinic of the handbook."""
    while True:
        drawn = Entity(rng.choice(PLACES), rng.choice(KINDS))
        if not drawn.reserved:
            return drawn


def both(text: str) -> tuple[str, str]:
    """A value that is written alike in both languages, such as a number or an hour."""
    return text, text


def sentence(text: str) -> str:
    """`text` with its first letter as a capital."""
    return text[:1].upper() + text[1:]
