"""What patients say, in both languages: symptoms by department, emergencies, and other requests.

Used for the plain talk of the pre-training corpus (`corpus.py`) and for the task `triage` (`triage.py`).
"""

from __future__ import annotations

from examples.clinic.lexicon import _pairs as pairs

DEPARTMENTS: dict[str, str] = {
    "Cardiology": "القلب",
    "Dentistry": "الأسنان",
    "Dermatology": "الجلدية",
    "Eyes": "العيون",
    "Pediatrics": "الأطفال",
    "Orthopedics": "العظام",
    "Digestive": "الهضمية",
    "Neurology": "الأعصاب",
    "Pharmacy": "الصيدلية",
    "Billing": "الحسابات",
    "Laboratory": "المختبر",
    "Emergency": "الطوارئ",
}

SYMPTOMS: dict[str, list[tuple[str, str]]] = {
    "Cardiology": pairs("""
        my heart beats fast=قلبي يدق بسرعة, my heart skips a beat=قلبي يفوت نبضة,
        my ankles swell in the evening=كاحلي يتورم مساء, my blood pressure is high=ضغطي مرتفع,
        I get tired on the stairs=أتعب عند صعود الدرج, my pulse is not regular=نبضي غير منتظم,
        I feel a flutter in my heart=أشعر برفرفة في قلبي, my heart pounds at night=قلبي يخفق ليلا"""),
    "Dentistry": pairs("""
        my tooth hurts=سني تؤلمني, my gums bleed=لثتي تنزف, I broke a tooth=كسرت سنا,
        my filling fell out=سقطت حشوة سني, my teeth feel cold pain=أسناني تتألم من البارد,
        my wisdom tooth is swollen=ضرس العقل منتفخ, my crown is loose=تاج سني يتحرك,
        my jaw hurts when I chew=فكي يؤلمني عند المضغ"""),
    "Dermatology": pairs("""
        I have a rash=عندي طفح جلدي, my skin is itchy=جلدي يحكني, a red spot is growing=بقعة حمراء تكبر,
        my hair is falling out=شعري يتساقط, I have acne on my face=عندي حبوب في وجهي,
        a mole changed its shape=شامة غيرت شكلها, my skin is dry and peeling=جلدي جاف ويتقشر,
        I have warts on my hand=عندي ثآليل في يدي"""),
    "Eyes": pairs("""
        my eyes are red=عيناي حمراوان, I see blurry=رؤيتي ضبابية, my eye is dry=عيني جافة,
        I need new glasses=أحتاج نظارة جديدة, light bothers my eyes=الضوء يزعج عيني,
        my eyelid is swollen=جفني منتفخ, I see double at night=أرى صورة مزدوجة ليلا,
        my eyes water a lot=عيناي تدمعان كثيرا"""),
    "Pediatrics": pairs("""
        my baby has a fever=طفلي الرضيع عنده حمى, my child is coughing=طفلي يسعل,
        my son will not eat=ابني لا يأكل, my daughter has spots=ابنتي عندها بقع,
        my baby cries all night=رضيعي يبكي طوال الليل, my child needs a vaccine=طفلي يحتاج لقاحا,
        my son has an earache=ابني عنده ألم في الأذن, my daughter vomits after milk=ابنتي تتقيأ بعد الحليب"""),
    "Orthopedics": pairs("""
        my knee hurts=ركبتي تؤلمني, my back is stiff=ظهري متيبس, I twisted my ankle=التوى كاحلي,
        my shoulder clicks=كتفي يطقطق, my wrist is swollen=معصمي متورم,
        my hip hurts when I walk=وركي يؤلمني عند المشي, my neck will not turn=رقبتي لا تدور,
        my heel hurts in the morning=كعبي يؤلمني صباحا"""),
    "Digestive": pairs("""
        my stomach burns=معدتي تحرقني, I feel sick after meals=أشعر بالغثيان بعد الطعام,
        I have heartburn=عندي حرقة, my belly is bloated=بطني منتفخ, I have had diarrhea=عندي إسهال,
        I cannot digest milk=لا أهضم الحليب, I have no appetite=ليست عندي شهية,
        I have cramps in my belly=عندي مغص في بطني"""),
    "Neurology": pairs("""
        I have a headache=عندي صداع, my hand trembles=يدي ترتجف, my fingers are numb=أصابعي مخدرة,
        I feel dizzy=أشعر بالدوار, I forget names=أنسى الأسماء, I cannot sleep=لا أستطيع النوم,
        I have migraine with aura=عندي شقيقة مع هالة, my leg tingles=ساقي تنمل"""),
}

EMERGENCIES: list[tuple[str, str]] = pairs("""
        I have crushing chest pain=عندي ألم ساحق في الصدر, my father cannot breathe=أبي لا يستطيع التنفس,
        my mother fainted and will not wake up=أمي أغمي عليها ولا تستيقظ,
        my arm and face went weak suddenly=ضعف ذراعي ووجهي فجأة,
        he is bleeding and it does not stop=ينزف والنزيف لا يتوقف, my child swallowed bleach=طفلي بلع مبيضا,
        my throat is closing after a bee sting=حلقي ينغلق بعد لسعة نحلة,
        she has a seizure now=عندها نوبة تشنج الآن, he choked and is turning blue=اختنق ولونه يزرق,
        my baby is not breathing well=رضيعي لا يتنفس جيدا,
        I cannot speak and half my body is numb=لا أستطيع الكلام ونصف جسمي مخدر, I am vomiting blood=أتقيأ دما,
        I took too many pills=أخذت حبوبا كثيرة, a car hit my brother=سيارة صدمت أخي,
        I have a deep cut and lose much blood=عندي جرح عميق وأفقد دما كثيرا, my wife collapsed=زوجتي انهارت""")

# Requests that are not about symptoms: intent → department and what is said.
REQUESTS: dict[str, tuple[str, list[tuple[str, str]]]] = {
    "prescription": (
        "Pharmacy",
        pairs("""
        I need a refill of my tablets=أحتاج تجديد حبوبي, my medicine ran out=نفد دوائي,
        my prescription expired=انتهت وصفتي, I lost my prescription=ضاعت وصفتي,
        can I get my insulin again=هل يمكن أن آخذ الأنسولين مجددا, my inhaler is empty=بخاخي فارغ,
        I want to renew my drops=أريد تجديد القطرة, my cream is finished=انتهى المرهم"""),
    ),
    "billing": (
        "Billing",
        pairs("""
        I was charged twice=تم الخصم مني مرتين, my invoice is wrong=فاتورتي خاطئة,
        I need a copy of my bill=أحتاج نسخة من فاتورتي, my insurance was refused=رفض تأميني,
        I want my money back=أريد استرداد مالي, how do I pay my bill=كيف أدفع فاتورتي,
        can I pay in parts=هل يمكن الدفع بالتقسيط, I did not get a receipt=لم أستلم إيصالا"""),
    ),
    "results": (
        "Laboratory",
        pairs("""
        are my blood results ready=هل نتائج دمي جاهزة, I want my test results=أريد نتائج فحصي,
        when will my urine test be ready=متى يجهز فحص البول, my lab report is missing=تقرير المختبر مفقود,
        I need my vitamin test result=أحتاج نتيجة فحص الفيتامين,
        please send my sugar test=أرسلوا فحص السكر من فضلكم, my results are not clear=نتائجي غير واضحة,
        I did not get my results=لم أستلم نتائجي"""),
    ),
}

APPOINTMENTS: list[tuple[str, str]] = [
    ("I want an appointment with {d}", "أريد موعدا في قسم {d}"),
    ("please book me a visit to {d}", "احجزوا لي زيارة في قسم {d}"),
    ("I need to move my visit to {d}", "أحتاج تغيير موعدي في قسم {d}"),
    ("cancel my appointment with {d}", "ألغوا موعدي في قسم {d}"),
    ("is there a free time at {d}", "هل يوجد وقت متاح في قسم {d}"),
    ("can I see a doctor in {d}", "هل يمكنني رؤية طبيب في قسم {d}"),
    ("I missed my visit to {d}", "فاتني موعدي في قسم {d}"),
    ("confirm my appointment at {d}", "أكدوا موعدي في قسم {d}"),
]

OPENERS: list[tuple[str, str]] = [
    ("Hello", "مرحبا"),
    ("Good morning", "صباح الخير"),
    ("Good evening", "مساء الخير"),
    ("Hi", "أهلا"),
    ("Excuse me", "عفوا"),
    ("Dear team", "فريقنا العزيز"),
    ("Peace be upon you", "السلام عليكم"),
    ("Please help", "ساعدوني من فضلكم"),
]
INTRODUCTIONS: list[tuple[str, str]] = [
    ("I am {n}", "أنا {n}"),
    ("my name is {n}", "اسمي {n}"),
    ("this is {n}", "معكم {n}"),
    ("{n} here", "هنا {n}"),
]
TIMES: list[tuple[str, str]] = pairs("""
        since yesterday=منذ أمس, for two days=منذ يومين, for a week=منذ أسبوع, since this morning=منذ هذا الصباح,
        for a month=منذ شهر, since last night=منذ الليلة الماضية, for some hours=منذ ساعات,
        for three weeks=منذ ثلاثة أسابيع, after work=بعد العمل, since my trip=منذ سفري""")
CLOSERS: list[tuple[str, str]] = [
    ("What should I do?", "ماذا أفعل؟"),
    ("Thank you.", "شكرا لكم."),
    ("Can you help me?", "هل يمكنكم مساعدتي؟"),
    ("I am waiting for your answer.", "أنتظر ردكم."),
    ("I am worried.", "أنا قلق."),
    ("Please tell me.", "أخبروني من فضلكم."),
    ("", ""),
    ("", ""),
]
# The house's words for the replies of triage; the corpus shows them in plain talk, never as the task's JSON.
EMERGENCY_LINE = "997"
